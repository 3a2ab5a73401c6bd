"""The service put together: settings → database, slots, daemon, conductor, HTTP API.

Everything that runs is started here and stopped here, in the opposite order, whatever happens.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvicorn

from monero_escrow.clock import Clock, SystemClock
from monero_escrow.config import Settings, SettingsError
from monero_escrow.core.errors import EscrowError
from monero_escrow.core.roles import Role, role_of_slot
from monero_escrow.escrows.ask_chain import ask_chain_if_restored
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.keep_elsewhere import require_second_place
from monero_escrow.fleet.inspection import inspect_all
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.daemon import DaemonClient
from monero_escrow.monero.rpc import Credentials
from monero_escrow.monero.wallet_rpc import LONGEST_LIMIT_SECONDS, WalletRpcClient
from monero_escrow.store.second_place import trouble_with
from monero_escrow.store.store import SqlStore, Store, open_sqlcipher
from monero_escrow.web.app import create_app

log = structlog.get_logger(__name__)

_SICK_LOOK_SECONDS = 15.0
_STOP_SECONDS = 3  # for answers under way; whoever waits for a set-up finds it again


class AlreadyRunningError(EscrowError):
    """Another copy of the service uses this database."""

    code = "already_running"
    what_to_do = "Stop the other one, or give this one a DATA_DIR of its own."


class CannotListenError(EscrowError):
    """The HTTP API cannot listen on its port."""

    code = "cannot_listen"
    what_to_do = "Stop the program that listens there, or set SERVER_HOST and SERVER_PORT to what the service may use."


def open_store(settings: Settings, *, migrates: bool = True) -> SqlStore:
    """The service's database, made or brought up to date, or (`migrates=False`) as it is. Raises what is wrong."""
    key = settings.master_key()
    return open_sqlcipher(settings.database_path, key, settings.monero_network, migrates=migrates)


def slots_of(settings: Settings) -> list[Slot]:
    """One slot a configured URL; which role it serves follows from its position."""
    login = settings.monero_rpc_login
    user, _, password = (login.get_secret_value() if login else "").partition(":")
    credentials = Credentials(user, password) if login else None
    return [
        Slot(index, role_of_slot(index), WalletRpcClient(url, credentials=credentials, on_call=_LogCalls(url)))
        for index, url in enumerate(settings.monero_rpc_urls)
    ]


@dataclass(frozen=True, slots=True)
class _LogCalls:
    """A debug line a call: which, how long, and how it ended; never what it said."""

    url: str

    def __call__(self, method: str, seconds: float, outcome: str) -> None:
        log.debug("rpc", method=method, url=self.url, milliseconds=round(seconds * 1000), outcome=outcome)


@contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Hold the folder's lock: two services on one database would both think that they hold its slots."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(data_dir / "service.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(f"A service already runs on {data_dir}.") from None
        yield
    finally:
        os.close(lock)


@asynccontextmanager
async def running_service(settings: Settings, clock: Clock | None = None) -> AsyncIterator[Conductor]:
    """Everything but the HTTP server: database open, slots looked at, conductor at work."""
    clock = clock or SystemClock()
    settings.master_key()  # before anything is made
    with only_one(settings.data_dir):
        store = open_store(settings)
        pool = SlotPool(slots_of(settings), clock, quarantine_seconds=settings.quarantine_seconds)
        url = settings.monero_daemon_url
        daemon = DaemonClient(url, on_call=_LogCalls(url)) if url else None
        conductor = Conductor(Context(settings, store, pool, daemon, clock))
        try:
            await _look_at_slots(conductor.ctx, pool.slots)
            for spare in pool.leftovers:
                log.warning("slot_spare", slot=spare.name, reason="beyond whole trios: only a spare of its class")
            async with _at_work(_conduct(conductor), _look_at_sick_slots(conductor.ctx)):
                yield conductor
        finally:
            await pool.aclose()
            for slot in pool.slots:
                await slot.rpc.aclose()
            if daemon is not None:
                await daemon.aclose()
            store.close()


async def _conduct(conductor: Conductor) -> None:
    """A restored copy may know less than the chain: it asks first, and nothing is signed before it has an answer."""
    await ask_chain_if_restored(conductor.ctx)
    await conductor.run()


@asynccontextmanager
async def _at_work(*jobs: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run the jobs beside the block. One that ends by a fault of ours ends the block: better than to look alive."""
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(job) for job in jobs]
            try:
                yield
            finally:
                for task in running:
                    task.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None


@dataclass(frozen=True, slots=True)
class _StoredOwnership:
    """Which wallets are ours, by the database."""

    store: Store

    async def knows_wallet(self, address: str) -> bool:
        return await self.store.read(lambda tx: tx.trios.knows_wallet(address))

    async def recent_passwords(self, role: Role) -> Sequence[str]:
        return await self.store.read(lambda tx: tx.trios.recent_passwords(role))


async def _look_at_slots(ctx: Context, slots: tuple[Slot, ...]) -> None:
    """Look, and tell what is new."""
    before = {slot: slot.sick for slot in slots}
    await inspect_all(slots, ctx.pool, ctx.settings.monero_network, _StoredOwnership(ctx.store))
    for slot, sick in before.items():
        if slot.sick is not None and slot.sick != sick:
            log.warning("slot_sick", slot=slot.name, reason=slot.sick)
        elif slot.sick is None and sick is not None:
            log.info("slot_well", slot=slot.name)


async def _look_at_sick_slots(ctx: Context) -> None:
    while True:
        await ctx.pool.until_there_is_one_to_look_at(_SICK_LOOK_SECONDS)
        await _look_at_slots(ctx, ctx.pool.sick_slots())


async def serve(settings: Settings) -> None:
    """Run the service until it is told to stop (SIGINT, SIGTERM). Raises what keeps it from starting."""
    if not settings.monero_rpc_urls:
        raise SettingsError(
            "MONERO_RPC_URLS is not set: an escrow needs three wallet-rpc processes.",
            what_to_do="Start them and list them, comma-separated; README.md shows how. `monero-escrow doctor` checks.",
        )
    if settings.quarantine_seconds <= LONGEST_LIMIT_SECONDS:
        raise SettingsError(
            f"QUARANTINE_SECONDS is {settings.quarantine_seconds:g}: a call that was given up on may run longer.",
            what_to_do=f"Leave it out, or set it to more than {LONGEST_LIMIT_SECONDS:g}, the longest limit of a call.",
        )
    require_second_place(settings.monero_network, configured=settings.backup_url is not None)
    if (trouble := trouble_with(settings)) is not None:
        log.warning("second_place", reason=trouble, setting="BACKUP_URL")
    async with running_service(settings) as conductor:
        config = uvicorn.Config(
            create_app(conductor),
            host=settings.server_host,
            port=settings.server_port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        log.info("serving", url=f"http://{settings.server_host}:{settings.server_port}", docs="/docs")
        try:
            await _Server(config).serve()
        except SystemExit:  # uvicorn's way of saying that it could not listen
            where = f"port {settings.server_port} of {settings.server_host}"
            raise CannotListenError(f"The HTTP API cannot listen on {where}.") from None
        log.info("stopped")


class _Server(uvicorn.Server):
    """uvicorn raises the signal that ended it once more, which would end us before our own clean-up."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
