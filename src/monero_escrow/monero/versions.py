"""Monero's versions: how to read them, which are enough, and what each can do.

A program on this machine says its version exactly (`--version`), and so does an unrestricted daemon (`get_info`). A
wallet-rpc process elsewhere answers only the version of its RPC interface, which grows with every change of it. So a
running process gives a lower bound of its version, never more:

    RPC 1.25   0.18.0.0             (ran)
    RPC 1.28   0.18.4.0             (ran)
    RPC 1.32   0.18.5.1 or newer    (ran on 0.18.5.3; 0.18.5.1 took finalize_multisig away, which changed the interface)

Never ask a process for `finalize_multisig` to find out: with no wallet open, 0.18.4.0 dies of it.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Final

from monero_escrow.core.errors import InvalidInputError
from monero_escrow.monero.errors import MoneroRpcError, UnknownMethodError
from monero_escrow.monero.ports import RpcVersion, WalletRpc

_DOTTED: Final = re.compile(r"(?<![\d.])(\d{1,4})\.(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?![\d.])")


@dataclass(frozen=True, order=True, slots=True)
class MoneroVersion:
    """A version of Monero's programs, such as 0.18.5.3; newer ones are greater."""

    era: int
    protocol: int
    feature: int
    fix: int

    @classmethod
    def parse(cls, text: str) -> MoneroVersion:
        """Read "0.18.5.3", "v0.18.5.3-release" or a whole line of `--version`; `InvalidInputError` when there is
        none.
        """
        found = _DOTTED.search(text)
        if found is None:
            raise InvalidInputError("There is no version of Monero, such as 0.18.5.3, in what the program said.")
        era, protocol, feature, fix = map(int, found.groups())
        return cls(era, protocol, feature, fix)

    def __str__(self) -> str:
        return f"{self.era}.{self.protocol}.{self.feature}.{self.fix}"


# Older ones do not say why `open_wallet` failed, and cannot take the fee from the destinations.
LEAST_SUPPORTED: Final = MoneroVersion(0, 18, 4, 0)
# Older ones do not write down that a nonce was used before the signature leaves: after a crash it could be used again,
# which gives the key away (monero-project/monero pull request 10754).
LEAST_FOR_MAINNET: Final = MoneroVersion(0, 18, 5, 1)

_LOOKAHEAD_SINCE: Final = MoneroVersion(0, 18, 5, 0)
_SOURCES_SINCE: Final = MoneroVersion(0, 18, 5, 1)  # 0.18.5.0 had them, with a fault (pull request 10592)
_LEAST_OF_RPC_MINOR: Final = ((32, LEAST_FOR_MAINNET), (28, LEAST_SUPPORTED), (0, MoneroVersion(0, 18, 0, 0)))


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a wallet-rpc of some version can do that an older supported one cannot.

    `set_subaddress_lookahead`: make and exchange three times faster. `describes_sources`: `describe_transfer` names
    the inputs. `subtract_fee`: `transfer` takes the fee from the destinations. `stores_used_nonces`: a crash cannot
    bring one back.
    """

    set_subaddress_lookahead: bool
    describes_sources: bool
    subtract_fee: bool
    stores_used_nonces: bool


@dataclass(frozen=True, slots=True)
class ProbedVersion:
    """What a running wallet-rpc process is known to be: at least `at_least`, and able to do `abilities`."""

    rpc: RpcVersion
    at_least: MoneroVersion
    abilities: Abilities


def abilities_of(version: MoneroVersion) -> Abilities:
    """What wallet-rpc of this version can do."""
    return Abilities(
        set_subaddress_lookahead=version >= _LOOKAHEAD_SINCE,
        describes_sources=version >= _SOURCES_SINCE,
        subtract_fee=version >= LEAST_SUPPORTED,
        stores_used_nonces=version >= LEAST_FOR_MAINNET,
    )


def least_version_of(rpc: RpcVersion) -> MoneroVersion:
    """The oldest version that answers this RPC version."""
    if rpc.major != 1:
        # A new major means an interface nobody here has seen: nothing is known of it.
        return MoneroVersion(0, 0, 0, 0)
    return next(least for minor, least in _LEAST_OF_RPC_MINOR if rpc.minor >= minor)


async def probe_version(wallet_rpc: WalletRpc) -> ProbedVersion:
    """Ask a running process, changing nothing, not even a wallet somebody else has open in it."""
    rpc = await wallet_rpc.get_version()
    at_least = least_version_of(rpc)
    if LEAST_SUPPORTED <= at_least < _LOOKAHEAD_SINCE and await _knows_lookahead(wallet_rpc):
        at_least = _LOOKAHEAD_SINCE
    return ProbedVersion(rpc, at_least, abilities_of(at_least))


async def _knows_lookahead(wallet_rpc: WalletRpc) -> bool:
    """Whether the method exists. A look-ahead of zero under a random password is refused by every process that knows
    it.
    """
    try:
        await wallet_rpc.set_subaddress_lookahead(0, 0, secrets.token_hex(16))
    except UnknownMethodError:
        return False
    except MoneroRpcError:
        return True
    return True
