"""A chain in memory: blocks, the transaction pool, and every output and key image in them.

It enforces what payouts rely on: an output is spent once, only from what exists, and only when its lock has run out. A
transaction's raw form is the transaction written down, so whoever has it can send it again, wallet or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Final

from monero_escrow.core.address import AddressKind, Network
from monero_escrow.core.scan import PublicTransaction
from monero_escrow.monero.fake import messages
from monero_escrow.monero.fake.keys import hash_of, read_address
from monero_escrow.monero.fake.outputs import Payment, one_time_keys, public_parts
from monero_escrow.monero.ports import KeyImageStatus

COINS_LOCK_BLOCKS: Final = 10
MINED_COINS_LOCK_BLOCKS: Final = 60
BLOCK_SECONDS: Final = 120
_REWARD_PICONERO: Final = 35 * 10**12


@dataclass(frozen=True, slots=True)
class Output:
    """One output. `destination` is the public spend key it was sent to, hex; only its owner's view key could tell."""

    public_key: str
    destination: str
    amount_piconero: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction. `spends` names the outputs that a real one hides in rings; `key_images` are in their order."""

    txid: str
    raw_hex: str
    spends: tuple[str, ...]
    key_images: tuple[str, ...]
    outputs: tuple[Output, ...]
    payments: tuple[Payment, ...]
    unlock_time: int = 0

    @property
    def is_coinbase(self) -> bool:
        """A block's reward: it has no inputs."""
        return not self.spends

    @property
    def public_parts(self) -> PublicTransaction:
        """What a scan with view keys needs."""
        return public_parts(self.txid, self.payments, is_reward=self.is_coinbase)


@dataclass(frozen=True, slots=True)
class Block:
    """One block; the first transaction is its reward."""

    height: int
    hash: str
    timestamp_seconds: int
    transactions: tuple[Transaction, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an output stands in the chain."""

    output: Output
    transaction: Transaction
    height: int
    global_index: int


class RefusedTransactionError(Exception):
    """The chain does not take it, for these reasons (monerod's names)."""

    def __init__(self, *reasons: str) -> None:
        super().__init__(*reasons)
        self.reasons = frozenset(reasons)


@lru_cache(maxsize=65_536)
def key_image_of(output_public_key: str) -> str:
    """What shows on the chain when the output is spent; the same whoever signs."""
    return hash_of("key image", output_public_key)


def payment_to(address: str, network: Network, amount_piconero: int) -> Payment:
    """So much to this address; InvalidAddressError for what is none."""
    read = read_address(address, network)
    to_subaddress = read.kind is AddressKind.SUBADDRESS
    return Payment(read.public_spend_key.hex(), read.public_view_key.hex(), to_subaddress, amount_piconero)


def write_transaction(
    spends: Sequence[str], payments: Sequence[Payment], salt: str, unlock_time: int = 0
) -> Transaction:
    """A transaction that spends these outputs and makes these payments."""
    payees = [[one.spend_key, one.view_key, one.to_subaddress, one.amount_piconero] for one in payments]
    return read_transaction(
        messages.write("transaction", spends=spends, payments=payees, salt=salt, unlock_time=unlock_time)
    )


@lru_cache(maxsize=4_096)
def read_transaction(raw_hex: str) -> Transaction:
    """The transaction a raw form says; UnreadableError if it says none."""
    content = messages.read("transaction", raw_hex)
    txid = hash_of("transaction", raw_hex)
    payments = tuple(Payment(*payee) for payee in content["payments"])
    return Transaction(
        txid=txid,
        raw_hex=raw_hex,
        spends=tuple(content["spends"]),
        key_images=tuple(map(key_image_of, content["spends"])),
        outputs=tuple(
            Output(key, one.spend_key, one.amount_piconero)
            for key, one in zip(one_time_keys(txid, payments), payments, strict=True)
        ),
        payments=payments,
        unlock_time=content["unlock_time"],
    )


class FakeChain:
    """The chain all fake programs of one test share. `now` gives the blocks' times; without it two minutes apart."""

    def __init__(
        self, rng: Random, *, network: Network = Network.REGTEST, now: Callable[[], float] | None = None
    ) -> None:
        self.network = network
        self.pool: dict[str, Transaction] = {}
        self.double_spend_seen: set[str] = set()
        self._rng = rng
        self._now = now
        self._blocks: list[Block] = []
        self._places: dict[str, Place] = {}
        self._height_of: dict[str, int] = {}
        self._spent_by: dict[str, str] = {}
        self._append(())

    @property
    def height(self) -> int:
        """The number of blocks."""
        return len(self._blocks)

    @property
    def top(self) -> Block:
        """The last block."""
        return self._blocks[-1]

    def block(self, height: int) -> Block:
        """The block at this height; IndexError if there is none."""
        if height < 0:
            raise IndexError(height)
        return self._blocks[height]

    def blocks_from(self, height: int) -> Iterator[Block]:
        """The blocks at this height and above."""
        return iter(self._blocks[max(height, 0) :])

    def place(self, output_public_key: str) -> Place | None:
        """Where this output stands; None if it is in no block."""
        return self._places.get(output_public_key)

    def find(self, txid: str) -> tuple[Transaction, int | None] | None:
        """A transaction and its height, None for the pool; None if it is in neither."""
        if txid in self.pool:
            return self.pool[txid], None
        height = self._height_of.get(txid)
        if height is None:
            return None
        return next(tx for tx in self._blocks[height].transactions if tx.txid == txid), height

    def key_image_status(self, key_image: str) -> KeyImageStatus:
        """Whether, and where, the output of this key image is spent."""
        if key_image in self._spent_by:
            return KeyImageStatus.IN_CHAIN
        if any(key_image in tx.key_images for tx in self.pool.values()):
            return KeyImageStatus.IN_POOL
        return KeyImageStatus.UNSPENT

    def is_unlocked(self, output_public_key: str, height: int) -> bool:
        """Whether an output in a block may be spent in the block at this height."""
        place = self._places[output_public_key]
        lock = MINED_COINS_LOCK_BLOCKS if place.transaction.is_coinbase else COINS_LOCK_BLOCKS
        return place.height + lock <= height

    def take(self, raw_hex: str) -> str:
        """Put a transaction into the pool; answers its txid. What is known already is taken again without effect.

        RefusedTransactionError if it is none, or spends what is spent, locked or not there.
        """
        try:
            transaction = read_transaction(raw_hex)
        except messages.UnreadableError:
            raise RefusedTransactionError("sanity_check_failed") from None
        if self.find(transaction.txid) is not None:
            return transaction.txid
        rivals = self._rivals_of(transaction)
        if rivals:
            self.double_spend_seen |= rivals
            raise RefusedTransactionError("double_spend")
        if not self._can_be_mined(transaction):
            raise RefusedTransactionError("invalid_input")
        self.pool[transaction.txid] = transaction
        return transaction.txid

    def mine(self, address: str, *, empty: bool = False) -> str:
        """One block, paid to this address, with everything from the pool that may be mined; answers its hash.

        `empty`: begun before any of that had been passed on.
        """
        ready = [] if empty else [tx for tx in self.pool.values() if self._can_be_mined(tx)]
        for transaction in ready:
            del self.pool[transaction.txid]
        payment = payment_to(address, self.network, _REWARD_PICONERO)
        reward = write_transaction((), [payment], self._salt(), self.height + MINED_COINS_LOCK_BLOCKS)
        self._append((reward, *ready))
        return self.top.hash

    def pop(self, count: int) -> int:
        """Take the last blocks off, the first one never; their transactions go back to the pool, their rewards vanish.

        Answers the new height. What spends a vanished output stays in the pool and can no longer be mined.
        """
        for _ in range(min(count, self.height - 1)):
            block = self._blocks.pop()
            for transaction in block.transactions:
                del self._height_of[transaction.txid]
                for output in transaction.outputs:
                    del self._places[output.public_key]
                for key_image in transaction.key_images:
                    del self._spent_by[key_image]
                if not transaction.is_coinbase:
                    self.pool[transaction.txid] = transaction
        return self.height

    def forget_pool(self) -> None:
        """Everything in the pool is gone, as if no node had kept it."""
        self.pool.clear()
        self.double_spend_seen.clear()

    def _rivals_of(self, transaction: Transaction) -> set[str]:
        """The txids of what spends one of the same outputs already."""
        images = set(transaction.key_images)
        rivals = {self._spent_by[image] for image in images if image in self._spent_by}
        return rivals | {txid for txid, other in self.pool.items() if images & set(other.key_images)}

    def _can_be_mined(self, transaction: Transaction) -> bool:
        return all(spend in self._places and self.is_unlocked(spend, self.height) for spend in transaction.spends)

    def _append(self, transactions: tuple[Transaction, ...]) -> None:
        height = self.height
        time = height * BLOCK_SECONDS if self._now is None else int(self._now())
        block = Block(height, hash_of("block", str(height), self._salt()), time, transactions)
        self._blocks.append(block)
        for transaction in transactions:
            self._height_of[transaction.txid] = height
            for output in transaction.outputs:
                self._places[output.public_key] = Place(output, transaction, height, len(self._places))
            for key_image in transaction.key_images:
                self._spent_by[key_image] = transaction.txid

    def _salt(self) -> str:
        return self._rng.randbytes(8).hex()
