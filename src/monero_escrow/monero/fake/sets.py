"""What passes between signers when they spend: infos, unsigned sets and signed sets, written down and read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monero_escrow.core.address import AddressKind, Network
from monero_escrow.core.fees import RING_SIZE
from monero_escrow.monero.fake import messages
from monero_escrow.monero.fake.alarms import NotModelledError
from monero_escrow.monero.fake.chain import Transaction, payment_to, read_transaction, write_transaction
from monero_escrow.monero.fake.keys import hash_of, read_address
from monero_escrow.monero.fake.selection import Draft
from monero_escrow.monero.ports import DescribedTransaction, Recipient, Source


@dataclass(frozen=True, slots=True)
class Info:
    """A signer's export: for each output it saw, a nonce to be used once."""

    signer: str
    address: str
    nonces: Mapping[str, str]

    def write(self) -> str:
        """As text for the peers."""
        return messages.write("info", signer=self.signer, address=self.address, nonces=dict(self.nonces))

    @classmethod
    def read(cls, text: str) -> Info:
        """UnreadableError if it is none."""
        content = messages.read("info", text)
        return cls(content["signer"], content["address"], content["nonces"])


@dataclass(frozen=True, slots=True)
class Unsigned:
    """One transaction of an unsigned set. `inputs` and `payments` are (what, piconero); change goes to the last one.

    `nonces` says for each output which nonce of which signer the second signature must use.
    """

    inputs: tuple[tuple[str, int], ...]
    payments: tuple[tuple[str, int], ...]
    change_piconero: int
    fee_piconero: int
    nonces: Mapping[str, Mapping[str, str]]
    salt: str

    @classmethod
    def of(cls, draft: Draft, nonces: Mapping[str, Mapping[str, str]], salt: str) -> Unsigned:
        """The draft with the nonces for its inputs."""
        inputs = tuple((coin.output.public_key, coin.output.amount_piconero) for coin in draft.coins)
        return cls(inputs, draft.payments, draft.change_piconero, draft.fee_piconero, nonces, salt)

    @property
    def name(self) -> str:
        """What tells it from any other transaction, for whoever must not sign two."""
        return hash_of("unsigned", repr((self.inputs, self.payments, self.change_piconero, self.salt)))

    def signed(self, signers: str, change_address: str, network: Network) -> Transaction:
        """The transaction that two signatures make of it."""
        paid = [*self.payments, *([(change_address, self.change_piconero)] if self.change_piconero else [])]
        return as_transaction([key for key, _ in self.inputs], paid, f"{signers} {self.name}", network)

    def described(self, change_address: str, *, sources: bool) -> DescribedTransaction:
        """What it says, as a signer's wallet tells it: equal recipients merged, no change among them."""
        merged: dict[str, int] = {}
        for address, amount in self.payments:
            merged[address] = merged.get(address, 0) + amount
        amount_in = sum(amount for _, amount in self.inputs)
        alone = len(self.payments) == 1 and not self.change_piconero
        return DescribedTransaction(
            recipients=tuple(Recipient(address, amount) for address, amount in merged.items()),
            amount_in_piconero=amount_in,
            amount_out_piconero=amount_in - self.fee_piconero,
            fee_piconero=self.fee_piconero,
            change_address=change_address if self.change_piconero else "",
            change_amount_piconero=self.change_piconero,
            ring_size=RING_SIZE,
            unlock_time=0,
            payment_id="",
            dummy_outputs=1 if alone else 0,
            extra=self.name,
            sources=tuple(Source(key, amount) for key, amount in self.inputs) if sources else None,
        )


@dataclass(frozen=True, slots=True)
class UnsignedSet:
    """What a proposer hands to the others."""

    proposer: str
    transactions: tuple[Unsigned, ...]

    def write(self) -> str:
        """As text for the other signers."""
        return messages.write(
            "unsigned set",
            proposer=self.proposer,
            transactions=[
                [one.inputs, one.payments, one.change_piconero, one.fee_piconero, one.nonces, one.salt]
                for one in self.transactions
            ],
        )

    @classmethod
    def read(cls, text: str) -> UnsignedSet:
        """UnreadableError if it is none."""
        content = messages.read("unsigned set", text)
        return cls(
            content["proposer"],
            tuple(
                Unsigned(tuple(map(_pair, inputs)), tuple(map(_pair, payments)), change, fee, nonces, salt)
                for inputs, payments, change, fee, nonces, salt in content["transactions"]
            ),
        )


def write_signed(transactions: Sequence[Transaction]) -> str:
    """A fully signed set as text."""
    return messages.write("signed set", transactions=[transaction.raw_hex for transaction in transactions])


def read_signed(text: str) -> list[Transaction]:
    """UnreadableError if it is none."""
    return [read_transaction(raw) for raw in messages.read("signed set", text)["transactions"]]


def as_transaction(
    spends: Sequence[str], payments: Sequence[tuple[str, int]], salt: str, network: Network
) -> Transaction:
    """A transaction that pays each (address, piconero)."""
    for address, _ in payments:
        check_recipient(address, network)
    return write_transaction(spends, [payment_to(address, network, amount) for address, amount in payments], salt)


def check_recipient(address: str, network: Network) -> None:
    """InvalidAddressError for what is no address."""
    if read_address(address, network).kind is AddressKind.INTEGRATED:
        raise NotModelledError("a payment to an integrated address")


def _pair(pair: Sequence[object]) -> tuple[str, int]:
    text, number = pair
    if not isinstance(text, str) or not isinstance(number, int):
        raise messages.UnreadableError
    return text, number
