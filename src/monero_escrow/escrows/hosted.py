"""A hosted participant: one whose wallet the service runs, by calling the slot it has leased.

The key exchange and the payouts are fed by messages from three participants; this is one way to make them. An
outsider who sends theirs over the API would be another. A wallet file is a cache: what is not on the leased slot's
disk is rebuilt from the participant's key and the stored messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

import structlog

from monero_escrow.core.address import Network
from monero_escrow.core.errors import EscrowError, InvariantError, UnavailableError
from monero_escrow.core.key_exchange import THRESHOLD, Call, Round, WalletReport
from monero_escrow.core.keys import WalletKeys
from monero_escrow.core.roles import Role
from monero_escrow.fleet.pool import Lease
from monero_escrow.monero.errors import (
    NoWalletOpenError,
    TransportError,
    WalletFileDamagedError,
    WalletFileMissingError,
)
from monero_escrow.monero.ports import WalletRpc
from monero_escrow.store.records import ParticipantRecord, TrioRecord
from monero_escrow.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Deposits go to the primary address, so one subaddress is all a wallet need look for (0.18.5: 0.6 s a call saved).
_LOOKAHEAD = 1
_MOST_FILES = 10
_WORTH_STORING_BLOCKS = 1_000


class WrongWalletOpenError(UnavailableError):
    """The process has another wallet open than the lease's. It was not touched."""

    code = "wrong_wallet_open"
    what_to_do = "Make sure that nothing else uses this wallet-rpc process; the work is tried again elsewhere."

    @property
    def public_message(self) -> str:
        """Without the process's name."""
        return "One of the wallet-rpc processes has another wallet open."


async def side_by_side(work: Iterable[Awaitable[T]]) -> list[T]:
    """Run the three wallets' calls at once and let all of them answer before the first error is raised.

    Cancelling the others instead would leave calls without an answer, and slots in quarantine.
    """
    answers = await asyncio.gather(*work, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]


class HostedWallet:
    """One wallet on one leased slot. Use as `async with`: it is closed on the way out, whatever happened."""

    def __init__(
        self, lease: Lease, participant: ParticipantRecord, network: Network, metrics: Metrics | None = None
    ) -> None:
        self.role: Role = participant.role
        self._lease = lease
        self._participant = participant
        self._network = network
        self._metrics = metrics or Metrics()
        self._open_address: str | None = None

    async def __aenter__(self) -> HostedWallet:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Close what is open. A process that does not do as it is told is looked at before its next lease."""
        try:
            if isinstance(error, TransportError) and error.url == self._rpc.url:
                self._lease.suspect(self.role, error.message)
            elif self._open_address is not None and not self._rpc.abandoned:
                await self.close()
        except EscrowError as trouble:
            self._lease.suspect(self.role, f"Its wallet could not be closed. {trouble.message}")

    @property
    def _rpc(self) -> WalletRpc:
        """The leased process; raises LeaseLostError when the lease is over."""
        return self._lease.slot(self.role).rpc

    @property
    def slot_name(self) -> str:
        """Which process it is open on, for the journal."""
        return self._lease.slot(self.role).name

    async def checked(self) -> WalletRpc:
        """The process, after looking that its open wallet is ours: goes before each call that changes anything."""
        if await self._rpc.get_address() != self._open_address:
            raise self._wrong_wallet("has another wallet open.")
        return self._rpc

    def _wrong_wallet(self, what: str) -> WrongWalletOpenError:
        """Keep our hands off the open wallet, and have the slot looked at."""
        self._open_address = None
        self._lease.suspect(self.role, f"It {what}")
        return WrongWalletOpenError(f"{self.slot_name} {what}")

    async def make(self, restore_height: int, filename: str | None = None) -> None:
        """Make the wallet from the participant's stored key, on a process that has none open."""
        await self._nothing_open()
        person = self._participant
        keys = WalletKeys.from_entropy(bytes.fromhex(person.spend_key), self._network)
        with self._metrics.wallet_creation():
            self._open_address = await self._rpc.generate_from_keys(
                filename=filename or person.filename,
                password=person.password,
                address=keys.address,
                spend_key=keys.private_spend_key_hex,
                view_key=keys.private_view_key_hex,
                restore_height=restore_height,
            )
        if self._open_address != person.primary_address:
            raise InvariantError(f"{self.slot_name} made a wallet with another address than its keys have.")
        abilities = self._lease.slot(self.role).abilities
        if abilities is not None and abilities.set_subaddress_lookahead:
            await self._rpc.set_subaddress_lookahead(_LOOKAHEAD, _LOOKAHEAD, person.password)

    async def answer(self, call: Call) -> str:
        """Make one call of the key exchange: the message it answers with, or in the last round the address."""
        rpc, password = await self.checked(), self._participant.password
        match call.round:
            case Round.PREPARE:
                return await rpc.prepare_multisig()
            case Round.MAKE:
                message = await rpc.make_multisig(call.peer_messages, threshold=THRESHOLD, password=password)
                self._open_address = await rpc.get_address()
                return message
            case Round.EXCHANGE:
                answer = await rpc.exchange_multisig_keys(call.peer_messages, password=password)
                self._open_address = await rpc.get_address()  # another one in every round, until the last
                return answer.message
            case Round.FINISH:
                answer = await rpc.exchange_multisig_keys(call.peer_messages, password=password)
                self._open_address = answer.address
                return answer.address

    async def reopen(self, address: str) -> None:
        """Open the wallet from its file, and look that it is the one with this address."""
        if self._open_address is not None:
            await self.close(store=False)
        await self._nothing_open()
        if not await self._open_file(self._participant.filename, address):
            raise InvariantError(f"The {self.role} wallet's file does not hold what the key exchange made.")

    async def open(self, trio: TrioRecord, *, from_files: bool = True) -> None:
        """Open a finished wallet: from its file, or where this slot has no sound one, rebuilt by replay and compared.

        A rebuilding that was interrupted leaves a file that is of no use: the next one goes by a further name. With
        `from_files=False` it is rebuilt although there is a sound file.
        """
        await self._nothing_open()
        for filename in names_of(self._participant.filename):
            try:
                if await self._open_file(filename, trio.finished_address):
                    if from_files:
                        return
                    await self.close(store=False)
            except WalletFileDamagedError:
                continue
            except WalletFileMissingError:
                await self._rebuild(trio, filename)
                return
        if not from_files:
            await self.open(trio)  # there is no name left for another one
            return
        raise InvariantError(f"{self.slot_name} has {_MOST_FILES} files of the {self.role} wallet, and none is sound.")

    async def _open_file(self, filename: str, address: str) -> bool:
        """Whether the file holds the finished wallet with this address. One that does not is closed again as it was.

        The address alone does not tell: a wallet shows it one round before its key exchange is finished.
        """
        await self._rpc.open_wallet(filename, self._participant.password)
        if await self._rpc.get_address() == address and (await self._rpc.is_multisig()).ready:
            self._open_address = address
            return True
        await self.close(store=False)
        return False

    async def _rebuild(self, trio: TrioRecord, filename: str) -> None:
        await self.make(trio.restore_height, filename)
        for call in trio.exchange.replay(self.role):
            await self.answer(call)
        if self._open_address != trio.finished_address:
            raise InvariantError(f"Replay on {self.slot_name} gave another address than the stored one.")
        self._metrics.replays.inc()

    async def report(self) -> WalletReport:
        """What the open wallet says about itself, for the gate."""
        status = await self._rpc.is_multisig()
        return WalletReport(
            role=self.role,
            multisig=status.multisig,
            ready=status.ready,
            threshold=status.threshold,
            total=status.total,
            address=await self._rpc.get_address(),
            private_view_key=await self._rpc.query_key("view_key"),
        )

    async def refresh(self, restore_height: int) -> int:
        """Scan the chain from where the wallet is to its end; answers how many blocks were fetched.

        One call on the process's only thread, with a time limit of its own (`monero/calls.py`); the lease holds as long
        as it runs. Many blocks are stored at once: whatever happens next, they need not be scanned again.
        """
        rpc = await self.checked()
        blocks = await rpc.refresh(restore_height)
        if blocks >= _WORTH_STORING_BLOCKS:
            await rpc.store()
        log.debug("wallet_refreshed", slot=self.slot_name, blocks=blocks)
        return blocks

    async def close(self, *, store: bool = True) -> None:
        """Close the wallet and leave the process with none open."""
        self._open_address = None
        with self._metrics.wallet_close():
            await self._rpc.close_wallet(store=store)

    async def _nothing_open(self) -> None:
        """A process with someone else's wallet open is never touched."""
        try:
            await self._rpc.get_address()
        except NoWalletOpenError:
            return
        raise self._wrong_wallet("already has a wallet open.")


def names_of(filename: str) -> list[str]:
    """By which names a wallet may lie in a wallet folder, each with `.keys` and `.address.txt` beside it."""
    return [filename, *(f"{filename}-{number}" for number in range(1, _MOST_FILES))]


def new_participant(trio_id: str, role: Role, network: Network, entropy: bytes) -> ParticipantRecord:
    """A participant with keys of our own making: the database knows the wallet before any process does.

    `entropy` is 64 fresh random bytes: 32 for the key, the rest for the password and the file's name.
    """
    keys = WalletKeys.from_entropy(entropy[:32], network)
    return ParticipantRecord(
        trio_id=trio_id,
        role=role,
        filename=f"{role}-{entropy[56:64].hex()}",
        primary_address=keys.address,
        password=entropy[32:56].hex(),
        spend_key=keys.private_spend_key_hex,
    )
