"""The service put together: settings → database, slots, daemon, conductor, HTTP API.

Everything that runs is started here and stopped here, in the opposite order, whatever happens.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final

import structlog
import uvicorn

from monero_escrow.clock import Clock, SystemClock
from monero_escrow.config import Settings, SettingsError
from monero_escrow.core.errors import EscrowError
from monero_escrow.core.roles import Role, role_of_slot
from monero_escrow.escrows.account import keep_account, noted_end
from monero_escrow.escrows.ask_chain import ask_chain_if_restored
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.mainnet import require_ready_for_mainnet
from monero_escrow.escrows.stock import WORK as STOCK_WORK
from monero_escrow.escrows.stock import StockKeeper
from monero_escrow.escrows.tidy import keep_tidy
from monero_escrow.fleet.fleet import Fleet, require_slots
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.fleet.reload import starts_or_ends
from monero_escrow.fleet.slot import Slot
from monero_escrow.membership import Member, SharedStore, joined_node
from monero_escrow.monero.daemon import DaemonClient
from monero_escrow.monero.static_access import access_of
from monero_escrow.monero.wallet_rpc import LONGEST_LIMIT_SECONDS, WalletRpcClient
from monero_escrow.store.audit_adopt import chain_earlier_rows
from monero_escrow.store.opening import open_postgresql, open_sqlcipher
from monero_escrow.store.origin import done_by
from monero_escrow.store.second_place import trouble_with
from monero_escrow.store.store import SqlStore, Store
from monero_escrow.systemd import ServiceManager, keep_telling
from monero_escrow.telemetry.metrics import MONEROD, WALLET_RPC, Metrics
from monero_escrow.web.app import create_app
from monero_escrow.web.connections import Connections
from monero_escrow.web.door import door_of
from monero_escrow.web.listening import listeners, require_safe_listening
from monero_escrow.web.pages.install import close_pages, live_of
from monero_escrow.web.server import server_config
from monero_escrow.web.tls import OwnTls

log = structlog.get_logger(__name__)

_STOPPING: Final = (signal.SIGINT, signal.SIGTERM)


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
    key, url = settings.master_key(), settings.database_url
    if url is not None:
        return open_postgresql(url.get_secret_value(), key, settings.monero_network, migrates=migrates)
    return open_sqlcipher(settings.database_path, key, settings.monero_network, migrates=migrates)


def slots_of(settings: Settings, metrics: Metrics | None = None) -> list[Slot]:
    """One slot a configured URL; which role it serves follows from its position. Raises SettingsError."""
    on_call = partial(_Calls, metrics=metrics or Metrics())
    return [
        Slot(
            index,
            role_of_slot(index),
            WalletRpcClient(url, credentials=access.login, tls=access.tls, on_call=on_call(url)),
            access=access,
        )
        for index, (url, access) in enumerate(access_of(settings).items())
    ]


@dataclass(frozen=True, slots=True)
class _Calls:
    """A debug line a call, and a count: which, how long, and how it ended; never what it said."""

    url: str
    metrics: Metrics
    program: str = WALLET_RPC

    def __call__(self, method: str, seconds: float, outcome: str) -> None:
        self.metrics.rpc_call(self.program, method, seconds, outcome)
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
    with only_one(settings.data_dir), done_by(settings.node_name):
        store = open_store(settings)
        try:
            await chain_earlier_rows(store, clock)
            async with AsyncExitStack() as stack:
                member = None
                if isinstance(store, SharedStore):
                    member = await stack.enter_async_context(joined_node(settings, store, clock))
                    clock = member.node.clock
                yield await stack.enter_async_context(_working(settings, store, clock, member))
        finally:
            store.close()


@asynccontextmanager
async def _working(
    settings: Settings, store: SqlStore, clock: Clock, member: Member | None
) -> AsyncIterator[Conductor]:
    """The fleet and all that works on it; alone, or as a member of several nodes."""
    metrics = store.metrics
    pool = SlotPool(slots_of(settings, metrics=metrics), clock, quarantine_seconds=settings.quarantine_seconds)
    url = settings.monero_daemon_url
    daemon = DaemonClient(url, on_call=_Calls(url, metrics, MONEROD)) if url else None
    books, for_the_stock = _StoredOwnership(store), frozenset({STOCK_WORK})
    static_slots, on_call = partial(slots_of, metrics=metrics), partial(_Calls, metrics=metrics)
    fleet = Fleet(settings, pool, clock, books, static_slots, on_call, idle_work=for_the_stock)
    ctx = Context(settings, store, pool, daemon, clock, fleet=fleet, metrics=metrics)
    conductor = Conductor(ctx) if member is None else member.conductor(ctx)
    try:
        await fleet.prepare()
        stock = StockKeeper(conductor.ctx)
        beside = [] if member is None else member.jobs(conductor)
        async with (
            noted_end(conductor.ctx),
            _at_work(
                fleet.run(),
                _conduct(conductor),
                stock.run(),
                keep_tidy(conductor.ctx),
                keep_account(conductor.ctx),
                *beside,
            ),
        ):
            yield conductor
    finally:
        await fleet.aclose()
        if daemon is not None:
            await daemon.aclose()


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
        if len(group.exceptions) > 1 and not all(isinstance(error, EscrowError) for error in group.exceptions):
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
    manager = ServiceManager.of()
    manager.starting("the database, then its processes")
    with Signals(manager) as signals:
        await _serve(settings, signals, manager)
    log.info("stopped")


async def _serve(settings: Settings, signals: Signals, manager: ServiceManager) -> None:
    require_slots(settings)
    if settings.quarantine_seconds <= LONGEST_LIMIT_SECONDS:
        raise SettingsError(
            f"QUARANTINE_SECONDS is {settings.quarantine_seconds:g}: a call that was given up on may run longer.",
            what_to_do=f"Leave it out, or set it to more than {LONGEST_LIMIT_SECONDS:g}, the longest limit of a call.",
        )
    require_ready_for_mainnet(settings)
    if (trouble := trouble_with(settings)) is not None:
        log.warning("second_place", reason=trouble, setting="BACKUP_URL")
    require_safe_listening(settings)
    tls = OwnTls.of(settings)
    async with running_service(settings) as conductor:
        app = create_app(conductor)
        connections = Connections(
            conductor.ctx.clock, conductor.ctx.metrics, settings.most_connections, settings.slow_caller_seconds
        )
        status = partial(_status, conductor)
        server = _Server(
            server_config(app, settings, connections, tls),
            on_exit=partial(close_pages, app),
            on_start=lambda: manager.ready(status()),
        )
        with ExitStack() as stack:
            try:
                sockets = stack.enter_context(listeners(settings, connections))
            except OSError as error:
                where = f"port {settings.server_port} of {settings.server_host}"
                raise CannotListenError(f"The HTTP API cannot listen on {where}: {error.strerror}.") from None
            scheme = "http" if tls is None else "https"
            log.info("serving", url=f"{scheme}://{settings.server_host}:{settings.server_port}", docs="/docs")
            stack.enter_context(signals.passed_on(server, conductor.ctx.fleet, tls))
            telling = keep_telling(manager, lambda: conductor.turns, status)
            async with _at_work(live_of(app).run(), door_of(app).run(), connections.run(), telling):
                await server.serve(sockets=list(sockets))


def _status(conductor: Conductor) -> str:
    """The line of `systemctl status`."""
    slots = conductor.ctx.pool.stats()
    return f"Serving: {slots.total} wallet processes, {slots.leased} at work, {slots.sick} sick or resting"


class Signals:
    """What signals do, from the beginning of a service to its end, so that none ends it without its clean-up.

    SIGINT and SIGTERM end it: its server, or the start if there is no server yet. Once it ends they do nothing more.
    SIGHUP reads the list of processes and the fleet's sizes again, and our certificate; what it did, or what was wrong,
    is in the log.
    """

    def __init__(self, manager: ServiceManager | None = None) -> None:
        self._manager = manager or ServiceManager()
        self._loop = asyncio.get_running_loop()
        self._start: asyncio.Task[object] | None = asyncio.current_task()
        self._ended_start: asyncio.Task[object] | None = None
        self._server: uvicorn.Server | None = None
        self._fleet: Fleet | None = None
        self._tls: OwnTls | None = None
        self._reloads: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Signals:
        for number in _STOPPING:
            self._loop.add_signal_handler(number, self._on_stop, number)
        self._loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """The end of a start that was told to stop is no error."""
        for number in (*_STOPPING, signal.SIGHUP):
            self._loop.remove_signal_handler(number)
        if self._ended_start is None or kind is not asyncio.CancelledError:
            return False
        return self._ended_start.uncancel() == 0

    @contextmanager
    def passed_on(self, server: uvicorn.Server, fleet: Fleet | None, tls: OwnTls | None = None) -> Iterator[None]:
        """For the block signals go to these; after it, whatever comes finds a service that ends already."""
        self._start, self._server, self._fleet, self._tls = None, server, fleet, tls
        try:
            yield
        finally:
            self._fleet = None
            for task in self._reloads:
                task.cancel()

    def _on_stop(self, number: signal.Signals) -> None:
        self._manager.stopping()
        if self._server is not None:
            self._server.handle_exit(number, None)
        elif self._start is not None:
            self._ended_start, self._start = self._start, None
            self._ended_start.cancel()

    def _on_hangup(self) -> None:
        if self._fleet is None:
            _tell_refused(starts_or_ends())
            return
        if self._tls is not None:
            _read_anew(self._tls)
        self._manager.reloading()
        task = asyncio.create_task(_reload(self._fleet))
        self._reloads.add(task)
        task.add_done_callback(self._reloaded)

    def _reloaded(self, task: asyncio.Task[None]) -> None:
        self._reloads.discard(task)
        if not task.cancelled():
            self._manager.reloaded()


def _read_anew(tls: OwnTls) -> None:
    try:
        tls.reload()
    except EscrowError as error:
        _tell_refused(error)
    else:
        log.info("certificate_read")


async def _reload(fleet: Fleet) -> None:
    try:
        await fleet.reload()
    except EscrowError as error:
        _tell_refused(error)
    except Exception:  # a fault of ours; the service goes on as it was
        log.exception("reload_failed")


def _tell_refused(error: EscrowError) -> None:
    log.error("reload_refused", reason=error.message, what_to_do=error.what_to_do)


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn raises the one that ended it once more, which would end us before our clean-up.

    `on_start` is called once it listens. `on_exit` is called as soon as it is told to end: answers that never end by
    themselves end then.
    """

    def __init__(
        self, config: uvicorn.Config, on_exit: Callable[[], None], on_start: Callable[[], object] = bool
    ) -> None:
        super().__init__(config)
        self._on_start = on_start
        self._on_exit = on_exit

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_exit()
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
