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
from monero_escrow.escrows.stock import WORK as STOCK_WORK
from monero_escrow.escrows.stock import StockKeeper
from monero_escrow.escrows.tidy import keep_tidy
from monero_escrow.fleet.fleet import Fleet, require_slots
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.daemon import DaemonClient
from monero_escrow.monero.rpc import Credentials
from monero_escrow.monero.wallet_rpc import LONGEST_LIMIT_SECONDS, WalletRpcClient
from monero_escrow.store.second_place import trouble_with
from monero_escrow.store.store import SqlStore, Store, open_sqlcipher
from monero_escrow.web.app import create_app

log = structlog.get_logger(__name__)

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
    """Everything but the HTTP server: database open, configured slots looked at, our own on their way, work begun."""
    clock = clock or SystemClock()
    settings.master_key()  # before anything is made
    with only_one(settings.data_dir):
        store = open_store(settings)
        pool = SlotPool(slots_of(settings), clock, quarantine_seconds=settings.quarantine_seconds)
        url = settings.monero_daemon_url
        daemon = DaemonClient(url, on_call=_LogCalls(url)) if url else None
        books, for_the_stock = _StoredOwnership(store), frozenset({STOCK_WORK})
        fleet = Fleet(settings, pool, clock, books, slots_of, _LogCalls, idle_work=for_the_stock)
        conductor = Conductor(Context(settings, store, pool, daemon, clock, fleet=fleet))
        try:
            await fleet.prepare()
            stock = StockKeeper(conductor.ctx)
            async with _at_work(fleet.run(), _conduct(conductor), stock.run(), keep_tidy(conductor.ctx)):
                yield conductor
        finally:
            await fleet.aclose()
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


async def serve(settings: Settings) -> None:
    """Run the service until it is told to stop (SIGINT, SIGTERM). Raises what keeps it from starting."""
    require_slots(settings)
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
            with _reloading_on_hangup(conductor.ctx.fleet):
                await _Server(config).serve()
        except SystemExit:  # uvicorn's way of saying that it could not listen
            where = f"port {settings.server_port} of {settings.server_host}"
            raise CannotListenError(f"The HTTP API cannot listen on {where}.") from None
        log.info("stopped")


@contextmanager
def _reloading_on_hangup(fleet: Fleet | None) -> Iterator[None]:
    """SIGHUP reads the list of processes and the fleet's sizes again; what it did, or what was wrong, is in the log."""
    reloads: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        try:
            if fleet is not None:
                await fleet.reload()
        except EscrowError as error:
            log.error("reload_refused", reason=error.message, what_to_do=error.what_to_do)  # noqa: TRY400

    def on_hangup() -> None:
        task = asyncio.create_task(reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        for task in reloads:
            task.cancel()


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
