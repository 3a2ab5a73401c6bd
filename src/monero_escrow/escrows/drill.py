"""Prove that the database alone is enough: rebuild wallets from it on scratch processes, and compare the addresses.

The processes are started for this, offline, in a folder that is gone afterwards, and asked for with a password nobody
else knows. The service's own slots are not touched, so this runs beside it. Nothing is written into the database: a
proof must not change what it is about.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from monero_escrow.clock import SystemClock
from monero_escrow.core.address import Network
from monero_escrow.core.errors import EscrowError, InvalidInputError, InvariantError
from monero_escrow.core.key_exchange import PARTICIPANTS, THRESHOLD, WalletReport
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.escrows.hosted import HostedWallet
from monero_escrow.fleet.inspection import inspect
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.access import fresh_access
from monero_escrow.monero.processes import start_wallet_rpc
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.wallet_rpc import WalletRpcClient
from monero_escrow.store import schema
from monero_escrow.store.records import TrioRecord
from monero_escrow.store.transaction import Transaction

_LEASE_WAIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Subject:
    """An escrow whose wallets are rebuilt, with everything the database has of them."""

    escrow_id: str
    trio: TrioRecord
    view_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of one wallet. `trouble` None: the address, the view key and 2 of 3 are what the database says."""

    escrow_id: str
    role: Role
    address: str
    seconds: float
    trouble: str | None


def escrows_with_address(tx: Transaction) -> list[str]:
    """Every escrow that has wallets to rebuild."""
    t = schema.escrows
    return list(tx.connection.scalars(select(t.c.id).where(t.c.deposit_address.is_not(None)).order_by(t.c.id)))


def subject_of(tx: Transaction, escrow_id: str) -> Subject:
    """Raises NotFoundError, SealBrokenError, and InvalidInputError for an escrow that has no address yet."""
    trio_id = tx.escrows.get(escrow_id).trio_id
    if trio_id is None:
        raise InvalidInputError(
            f"Escrow {escrow_id} has no address, so there is no wallet to rebuild.",
            what_to_do="Name one that has: see `monero-escrow escrow list`.",
        )
    return Subject(escrow_id, tx.trios.get(trio_id), tx.trios.view_key(trio_id))


async def drill(
    subjects: Sequence[Subject], programs: MoneroPrograms, network: Network, folder: Path, tell: Callable[[Proof], None]
) -> list[Proof]:
    """Rebuild every wallet of these escrows, three at a time; `tell` hears of each. `folder` is the caller's to remove.

    Raises ProgramFailedError, SlotUnusableError; a wallet that cannot be rebuilt is a proof with a trouble.
    """
    proofs: list[Proof] = []

    async def prove(pool: SlotPool, subject: Subject, role: Role) -> None:
        proof = await _prove(pool, subject, role, network)
        for file in (folder / role / "wallets").iterdir():
            file.unlink()
        proofs.append(proof)
        tell(proof)

    async with _scratch_slots(programs, folder, network) as pool:
        for subject in subjects:
            await asyncio.gather(*(prove(pool, subject, role) for role in ROLES if role in subject.trio.participants))
    return proofs


async def _prove(pool: SlotPool, subject: Subject, role: Role, network: Network) -> Proof:
    begun = time.monotonic()
    try:
        report = await _rebuilt(pool, subject.trio, role, network)
        trouble = _difference(report, subject)
    except EscrowError as error:
        trouble = error.message
    return Proof(subject.escrow_id, role, subject.trio.finished_address, time.monotonic() - begun, trouble)


async def _rebuilt(pool: SlotPool, trio: TrioRecord, role: Role, network: Network) -> WalletReport:
    async with (
        pool.lease(frozenset({role}), "drill", wait_seconds=_LEASE_WAIT_SECONDS) as lease,
        HostedWallet(lease, trio.participants[role], network) as wallet,
    ):
        await wallet.open(trio)
        return await wallet.report()


def _difference(report: WalletReport, subject: Subject) -> str | None:
    if report.address != subject.trio.finished_address:
        return "it has another address"
    if report.private_view_key != subject.view_key:
        return "it has another view key"
    if not (report.multisig and report.ready) or (report.threshold, report.total) != (THRESHOLD, PARTICIPANTS):
        return "it is not a finished 2-of-3 wallet"
    return None


class _NobodysWallets:
    """On a process that has just been started no wallet is open."""

    async def knows_wallet(self, address: str) -> bool:
        raise InvariantError("A process that was just started has a wallet open.")

    async def recent_passwords(self, role: Role) -> Sequence[str]:
        return ()


@asynccontextmanager
async def _scratch_slots(programs: MoneroPrograms, folder: Path, network: Network) -> AsyncIterator[SlotPool]:
    """One process of each role, with nothing open, ended afterwards."""
    async with AsyncExitStack() as stack:
        clients: dict[Role, WalletRpcClient] = {}
        for role in ROLES:
            access = fresh_access(folder / role)
            process = await stack.enter_async_context(
                await start_wallet_rpc(
                    programs, folder / role, network=network, daemon_url=None, name=role, access=access
                )
            )
            clients[role] = WalletRpcClient(process.url, credentials=access.login, tls=access.tls)
            stack.push_async_callback(clients[role].aclose)
        slots = await _ready(clients, network)
        pool = SlotPool(slots, SystemClock(), quarantine_seconds=0)
        stack.push_async_callback(pool.aclose)
        yield pool


async def _ready(clients: Mapping[Role, WalletRpcClient], network: Network) -> list[Slot]:
    slots = [Slot(index, role, client) for index, (role, client) in enumerate(clients.items())]
    for slot in slots:
        await inspect(slot, network, _NobodysWallets())
    return slots
