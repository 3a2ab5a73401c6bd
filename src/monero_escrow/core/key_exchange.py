"""The key exchange that makes three wallets one 2-of-3 multisig, as a state machine fed by messages.

Four calls a wallet, three of which make a message for the other two:

    prepare   → message of round 1
    make      ← the peers' round 1   → message of round 2   (its answer's address is the identity point: ignored)
    exchange  ← the peers' round 2   → message of round 3
    exchange  ← the peers' round 3   → the address

The machine asks nothing about who the participants are: a *hosted* one makes its messages by calling a slot, an
outsider sends theirs. A wallet is its seed and the messages it was sent, so feeding the same messages to a wallet
restored from its keys replays it. Source of the rounds: Monero's `src/multisig/multisig_account_kex_impl.cpp` and
`tests/conformance`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from monero_escrow.core.errors import InvalidInputError, InvariantError
from monero_escrow.core.roles import ROLES, Role, peers_of

THRESHOLD = 2
PARTICIPANTS = 3

# What Monero puts before every message; the longest seen is 422 characters.
_MESSAGE_PREFIX = "MultisigxV2R"
_LONGEST_MESSAGE = 4096


class Round(IntEnum):
    """A wallet call of the key exchange, in order. The number of a message is the round that made it."""

    PREPARE = 1
    MAKE = 2
    EXCHANGE = 3
    FINISH = 4


MESSAGE_ROUNDS: tuple[Round, ...] = (Round.PREPARE, Round.MAKE, Round.EXCHANGE)


class KeyExchangeError(InvalidInputError):
    """A message or an answer does not fit the exchange."""

    code = "key_exchange"
    what_to_do = "The set-up is begun anew with fresh wallets; no address was shown."


@dataclass(frozen=True, slots=True)
class Call:
    """The next call of one participant's wallet, with the peers' messages it takes (none for `PREPARE`)."""

    role: Role
    round: Round
    peer_messages: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class KeyExchange:
    """What has been said so far: one message a participant and round, and the address each wallet ended with."""

    messages: Mapping[tuple[Round, Role], str] = field(default_factory=dict, repr=False)
    addresses: Mapping[Role, str] = field(default_factory=dict, repr=False)

    def next_call(self, role: Role) -> Call | None:
        """The call this participant's wallet makes next; None while it waits for a peer, or when it is done."""
        if role in self.addresses:
            return None
        for made in MESSAGE_ROUNDS:
            if (made, role) not in self.messages:
                return self._call(role, made)
        return self._call(role, Round.FINISH)

    def _call(self, role: Role, this: Round) -> Call | None:
        if this is Round.PREPARE:
            return Call(role, this)
        earlier = Round(this - 1)
        peers = [self.messages.get((earlier, peer)) for peer in peers_of(role)]
        if any(message is None for message in peers):
            return None
        return Call(role, this, tuple(message for message in peers if message is not None))

    def replay(self, role: Role) -> tuple[Call, ...]:
        """Every call that turns a wallet restored from this participant's keys into what it had become."""
        done = sum((made, role) in self.messages for made in MESSAGE_ROUNDS) + (role in self.addresses)
        calls = (self._call(role, Round(number)) for number in range(1, done + 1))
        return tuple(call for call in calls if call is not None)

    def with_message(self, role: Role, made: Round, message: str) -> KeyExchange:
        """The exchange after this participant made its message of a round.

        Raises KeyExchangeError when the message is not one, comes out of turn, or is another participant's.
        """
        if made not in MESSAGE_ROUNDS:
            raise KeyExchangeError(f"Round {made.value} ends with an address, not with a message.")
        if not message.startswith(_MESSAGE_PREFIX) or len(message) > _LONGEST_MESSAGE:
            raise KeyExchangeError(f"The {role} wallet's answer to {made.name.lower()} is not a multisig message.")
        call = self.next_call(role)
        if call is None or call.round is not made:
            raise KeyExchangeError(f"The {role} wallet's message of round {made.value} is out of turn.")
        if message in self.messages.values():
            raise KeyExchangeError(f"The {role} wallet's message of round {made.value} was sent before.")
        return replace(self, messages={**self.messages, (made, role): message})

    def with_address(self, role: Role, address: str) -> KeyExchange:
        """The exchange after this participant's last call answered the shared address."""
        call = self.next_call(role)
        if call is None or call.round is not Round.FINISH:
            raise KeyExchangeError(f"The {role} wallet answered an address before its last round.")
        return replace(self, addresses={**self.addresses, role: address})

    @property
    def finished(self) -> bool:
        """True when all three wallets answered an address (whether it is the same one, the gate decides)."""
        return all(role in self.addresses for role in ROLES)


@dataclass(frozen=True, slots=True)
class WalletReport:
    """What one wallet, reopened from what is durable, says about itself at the gate."""

    role: Role
    multisig: bool
    ready: bool
    threshold: int
    total: int
    address: str = field(repr=False)
    private_view_key: str = field(repr=False)


def pass_gate(reports: Mapping[Role, WalletReport]) -> tuple[str, str]:
    """The shared (address, private view key), if three reopened wallets vouch for it.

    This is the second of the three places that keep a bad address from ever being shown; the caller decodes the address
    (the first), and the store refuses one that does not decode (the third). Raises InvariantError otherwise.
    """
    if set(reports) != set(ROLES):
        raise InvariantError("The gate needs a report of all three wallets.")
    for report in reports.values():
        if not (report.multisig and report.ready):
            raise InvariantError(f"The {report.role} wallet is not a finished multisig wallet.")
        if (report.threshold, report.total) != (THRESHOLD, PARTICIPANTS):
            raise InvariantError(f"The {report.role} wallet is {report.threshold} of {report.total}, not 2 of 3.")
    if len({report.address for report in reports.values()}) != 1:
        raise InvariantError("The three wallets do not agree on the address.")
    if len({report.private_view_key for report in reports.values()}) != 1:
        raise InvariantError("The three wallets do not agree on the view key.")
    agreed = next(iter(reports.values()))
    return agreed.address, agreed.private_view_key
