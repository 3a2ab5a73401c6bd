"""Somebody with a plain wallet on a private chain: a miner, a buyer who pays a deposit, a vendor who is paid.

Their wallet-rpc process may die at any moment and be started again. So everything a person does either changes nothing
or can be done twice: a payment is signed first, kept, and given to the daemon as often as it takes, and what a wallet
must not forget is written down before it counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from monero_escrow.core.errors import UnavailableError
from monero_escrow.monero.daemon import DaemonClient
from monero_escrow.monero.errors import (
    KeyImageUnknownError,
    MoneroRpcError,
    NoWalletOpenError,
    TransactionRefusedError,
    TransportError,
    WalletExistsError,
)
from monero_escrow.monero.ports import WalletTransfer
from monero_escrow.monero.processes import ChildProcess
from monero_escrow.monero.waiting import until
from monero_escrow.monero.wallet_rpc import WalletRpcClient

T = TypeVar("T")

_PASSWORD: Final = "a person on a private chain"  # noqa: S105 - protects worthless coins
_LIMIT_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.2
_RELAY_LIMIT_SECONDS: Final = 60.0
_RELAY_PATIENCE_SECONDS: Final = 1.0


async def until_relayed(daemon: DaemonClient) -> None:
    """Wait, milliseconds as a rule, until the next block will take in all that is in the pool.

    A daemon that died in those milliseconds has forgotten to pass a transaction on: it is given to it again.
    """
    loop = asyncio.get_running_loop()
    patient_until = loop.time() + _RELAY_PATIENCE_SECONDS

    async def all_passed_on() -> bool:
        nonlocal patient_until
        waiting = await daemon.unrelayed_txids()
        if waiting and loop.time() > patient_until:
            patient_until = loop.time() + _RELAY_PATIENCE_SECONDS
            for transaction in (await daemon.get_transactions(waiting)).values():
                await daemon.send_raw_transaction(transaction.raw_hex)
        return not waiting

    await until(all_passed_on, limit_seconds=_RELAY_LIMIT_SECONDS, poll_seconds=0.01)


@dataclass(frozen=True, slots=True)
class SignedPayment:
    """A payment that can be given to the network any number of times, and happens once."""

    txid: str
    raw_hex: str
    key_images: tuple[str, ...]


class PlainWallet(WalletRpcClient):
    """What a paying person asks of a process beyond the port: to sign without sending, and numbered addresses."""

    async def sign_payment(self, destinations: Sequence[tuple[str, int]], *, priority: int) -> SignedPayment:
        """A finished transaction to these (address, piconero), which nobody but us has seen."""
        answer = await self._call(
            "transfer",
            {
                "destinations": [{"address": address, "amount": piconero} for address, piconero in destinations],
                "account_index": 0,
                "priority": priority,
                "do_not_relay": True,
                "get_tx_hex": True,
            },
        )
        images = answer.inner("spent_key_images").texts("key_images")
        return SignedPayment(answer.text("tx_hash"), answer.text("tx_blob"), tuple(images))

    async def new_subaddress(self) -> tuple[str, int]:
        """A new subaddress of account 0, and its number. It is on disk before it is known."""
        answer = await self._call("create_address", {"account_index": 0})
        await self.store()
        return answer.text("address"), answer.integer("address_index")


@dataclass(slots=True, eq=False)
class Person:
    """One person. All that is asked of their wallet is asked again while their process or the daemon is away."""

    name: str
    address: str
    wallet: PlainWallet = field(repr=False)
    process: ChildProcess
    daemon: DaemonClient = field(repr=False)
    _at_wallet: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    _spent: list[str] = field(default_factory=list, repr=False)
    _frozen: set[str] = field(default_factory=set, repr=False)

    @classmethod
    async def arrives(cls, name: str, wallet: PlainWallet, process: ChildProcess, daemon: DaemonClient) -> Person:
        """Somebody new with an empty wallet, or where there is a wallet of that name, the one who has it."""
        person = cls(name, "", wallet, process, daemon)
        person.address = await person._steadily(wallet.get_address)
        return person

    async def pay(self, destinations: Sequence[tuple[str, int]], *, priority: int = 1) -> str:
        """Pay each (address, piconero) at once; answers the txid. Everyone sees it in the pool, where it awaits a
        block.
        """
        payment = await self._steadily(lambda: self._sign(destinations, priority))
        await self.give(payment)
        return payment.txid

    async def give(self, payment: SignedPayment) -> None:
        """Return when the daemon has the payment and will put it into the next block. Repeating it does no harm."""

        async def given() -> None:
            if payment.txid not in await self.daemon.get_transactions([payment.txid]):
                await self.daemon.send_raw_transaction(payment.raw_hex)
            await until_relayed(self.daemon)

        await persistently(given)

    async def _sign(self, destinations: Sequence[tuple[str, int]], priority: int) -> SignedPayment:
        """Sign with coins of which no earlier payment of ours that awaits a block has any.

        Only a payment the wallet sends itself would be remembered by it, and not if it dies: so we remember.
        """
        await self.wallet.refresh()
        for image in self._spent:
            if image not in self._frozen:
                await self.wallet.freeze(image)
                self._frozen.add(image)
        payment = await self.wallet.sign_payment(destinations, priority=priority)
        self._spent += payment.key_images
        return payment

    async def balance_piconero(self) -> int:
        """Everything the wallet owns, locked coins included."""
        return (await self._steadily(self._refreshed(self.wallet.get_balance))).balance_piconero

    async def unlocked_piconero(self) -> int:
        """What the wallet could spend now."""
        return (await self._steadily(self._refreshed(self.wallet.get_balance))).unlocked_piconero

    async def received(self) -> list[WalletTransfer]:
        """The incoming transactions that are mined, as this person's own wallet reads them from the chain."""
        return await self._steadily(self._refreshed(self.wallet.get_transfers))

    async def new_subaddress(self) -> tuple[str, int]:
        """A fresh address of this person's, and its number."""
        return await self._steadily(self.wallet.new_subaddress)

    def _refreshed(self, ask: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
        async def refreshed() -> T:
            await self.wallet.refresh()
            return await ask()

        return refreshed

    async def _steadily(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask, from the beginning again if the process dies meanwhile; one at a time, for it has one thread."""

        async def with_wallet_open() -> T:
            try:
                return await ask()
            except NoWalletOpenError:
                await self._open()
                return await ask()

        async with self._at_wallet:
            return await persistently(with_wallet_open)

    async def _open(self) -> None:
        self._frozen.clear()  # it may be an older copy of the wallet: the death took what was not written
        await self.wallet.auto_refresh(False)
        try:
            await self.wallet.create_wallet(self.name, _PASSWORD)
        except WalletExistsError:
            await self.wallet.open_wallet(self.name, _PASSWORD)


async def persistently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again as long as the other side is away or cannot answer, but not for ever. `ask` must bear repetition."""
    deadline = asyncio.get_running_loop().time() + _LIMIT_SECONDS
    while True:
        try:
            return await ask()
        except (TransportError, MoneroRpcError, UnavailableError) as error:
            over = asyncio.get_running_loop().time() > deadline
            if over or (isinstance(error, MoneroRpcError) and not _may_pass(error)):
                raise
        await asyncio.sleep(_PAUSE_SECONDS)


def _may_pass(error: MoneroRpcError) -> bool:
    """Whether a refusal may be one of the moment: the daemon was away, or the process died and has nothing open."""
    if isinstance(error, TransactionRefusedError):
        return False
    return not error.changed_nothing or isinstance(error, NoWalletOpenError | KeyImageUnknownError)
