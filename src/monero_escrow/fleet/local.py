"""The local fleet: wallet-rpc processes that the service starts, watches, measures and ends itself, each a slot.

One folder a role, `DATA_DIR/fleet/ROLE/`: in `wallets` the wallet files of the class, which every process of the class
finds (the program locks an open wallet's file, so that two never have the same one open; and one that is gone is
rebuilt), and `process-…` for each process with its configuration, its log and its ring database. Only loopback is
bound. A port is used by one slot: whoever still holds on to an earlier one reaches nobody. Each process and the service
know each other by a login and two certificates made for it (`monero/access.py`): nobody else on the machine can use its
wallets, and no other process is taken for it.

This starts and ends what it is told to. How many there should be, `upkeep.py` sees to.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import shutil
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from monero_escrow.core.address import Network
from monero_escrow.core.errors import EscrowError
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.fleet.instance import identify
from monero_escrow.fleet.orphans import CONFIG_NAME, end_orphans
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.access import Access, fresh_access, remove_left_keys
from monero_escrow.monero.processes import ChildProcess, ProgramFailedError, lasting_port, start_wallet_rpc
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.rpc import CallHook
from monero_escrow.monero.versions import abilities_of
from monero_escrow.monero.wallet_rpc import WalletRpcClient

log = structlog.get_logger(__name__)

_PORTS_REMEMBERED: Final = 1_000
_GRACE_SECONDS: Final = 3.0
_LOGS_KEPT: Final = 3
_TRIM_EVERY_SECONDS: Final = 60.0
LEAST_FREE_BYTES: Final = 64 << 20  # wallet files, logs and ring databases of a trio


def wallets_folder(fleet_folder: Path, role: Role) -> Path:
    """Where the wallet files of a class lie, also while none of its processes runs."""
    return fleet_folder / role / "wallets"


class FleetFolderError(ProgramFailedError):
    """The folder of the local fleet cannot be used."""

    code = "fleet_folder"
    what_to_do = "Make DATA_DIR writable for the service's user, with room for wallet files and logs."


@dataclass(slots=True, eq=False)
class _Running:
    """One process of the fleet, its folder, and who watches it. `ending`: its end will be no surprise."""

    child: ChildProcess
    folder: Path
    ending: bool = False
    watch: asyncio.Task[None] | None = None


class LocalFleet:
    """The processes of one service. `on_death` is told of a slot whose process ended by itself.

    `folder` is absolute; `on_call` makes the hook that is told of every call to the process at a URL.
    """

    def __init__(
        self,
        programs: MoneroPrograms,
        folder: Path,
        *,
        network: Network,
        daemon_url: str | None,
        on_call: Callable[[str], CallHook] | None = None,
    ) -> None:
        self.programs = programs
        self.folder = folder
        self.on_death: Callable[[Slot], None] = lambda _slot: None
        self._network = network
        self._daemon_url = daemon_url
        self._on_call = on_call
        self._running: dict[Slot, _Running] = {}
        self._folders: set[Path] = set()
        self._numbers = itertools.count()
        self._ports: deque[int] = deque(maxlen=_PORTS_REMEMBERED)

    async def prepare(self) -> None:
        """Before anything is started: the folder can be used, and no process of an earlier run is left.

        Raises FleetFolderError.
        """
        await asyncio.to_thread(require_usable_folder, self.folder)
        await end_orphans(self.folder)
        for role in ROLES:
            self._tidy(role)

    async def start_slot(self, role: Role) -> Slot:
        """Start a process and wait until it answers: a slot with nothing open, ready to serve, not yet in any pool.

        Raises ProgramFailedError, and has then left nothing running.
        """
        folder = self.folder / role / f"process-{secrets.token_hex(16)}"
        self._folders.add(folder)
        try:
            child, access = await self._process(role, folder)
            return await self._made_a_slot(role, folder, child, access)
        except BaseException:
            self._folders.discard(folder)
            self._tidy(role)
            raise

    async def _process(self, role: Role, folder: Path) -> tuple[ChildProcess, Access]:
        """A process that answers, and the one way to it."""
        try:
            access = fresh_access(folder)
            port = lasting_port(besides=self._ports)
            self._ports.append(port)
            child = await start_wallet_rpc(
                self.programs,
                folder,
                network=self._network,
                daemon_url=self._daemon_url,
                wallet_dir=wallets_folder(self.folder, role),
                port=port,
                config_file=folder / CONFIG_NAME,
                access=access,
            )
        except OSError as error:  # also of the whole machine's, such as no free descriptor
            raise FleetFolderError(f"No process can be started in {folder.parent}: {error.strerror}.") from None
        return child, access

    async def _made_a_slot(self, role: Role, folder: Path, child: ChildProcess, access: Access) -> Slot:
        hook = self._on_call(child.url) if self._on_call else None
        slot = Slot(
            next(self._numbers),
            role,
            WalletRpcClient(child.url, credentials=access.login, tls=access.tls, on_call=hook),
            abilities_of(self.programs.version),
            managed=True,
            wallet_dir=wallets_folder(self.folder, role),
        )
        running = self._running[slot] = _Running(child, folder)
        child.name = slot.name
        try:
            await identify(slot)
            await slot.rpc.auto_refresh(False)  # it would run on the one thread, in the middle of our calls
        except EscrowError as error:
            await self._end(slot, running)
            raise ProgramFailedError(f"{slot.name} does not serve. {error.message}\n{child.wrote()}") from None
        except BaseException:
            await self._end(slot, running)
            raise
        running.watch = asyncio.create_task(self._watch(slot, running), name=f"watch {slot.name}")
        return slot

    async def _watch(self, slot: Slot, running: _Running) -> None:
        """Tell at once when it ends by itself; meanwhile see that what it writes does not fill the disk."""
        while running.child.running:
            with suppress(TimeoutError):
                async with asyncio.timeout(_TRIM_EVERY_SECONDS):
                    await running.child.ended()
            running.child.trim_output()
        if not running.ending:
            log.warning("process_died", slot=slot.name, pid=running.child.pid, log=str(running.child.log_file))
            self.on_death(slot)

    async def stop_slot(self, slot: Slot) -> None:
        """End its process; the slot must have left the pool, or never been in it. One that is ended already is fine.

        A process that is sick, or may still be at a call that was given up on, is not asked but killed: it has to let
        go of its wallet file before another can open it.
        """
        running = self._running.get(slot)
        if running is not None:
            await self._end(slot, running)

    async def _end(self, slot: Slot, running: _Running) -> None:
        running.ending = True
        if slot.sick is not None or slot.rpc.abandoned:
            await running.child.kill()
        else:
            await running.child.stop(grace_seconds=_GRACE_SECONDS)
        await slot.rpc.aclose()
        self._running.pop(slot, None)
        self._folders.discard(running.folder)
        self._tidy(slot.role)

    def runs(self, slot: Slot) -> bool:
        """Whether its process was started here and has not ended."""
        running = self._running.get(slot)
        return running is not None and running.child.running

    def pid(self, slot: Slot) -> int | None:
        """Its process's id, while it runs."""
        return self._running[slot].child.pid if self.runs(slot) else None

    def memory_bytes(self) -> Mapping[Slot, int]:
        """Resident memory of each process that runs, bytes; what they share is counted in each."""
        return {slot: running.child.memory_bytes() for slot, running in self._running.items() if self.runs(slot)}

    async def aclose(self) -> None:
        """End every process, side by side. Nothing may be started meanwhile or afterwards."""
        await asyncio.gather(*(self._end(slot, running) for slot, running in list(self._running.items())))

    def _tidy(self, role: Role) -> None:
        """Of the processes that have ended keep the last logs, and nothing else."""
        with suppress(OSError):
            ended = [folder for folder in (self.folder / role).glob("process-*") if folder not in self._folders]
            for folder in ended:
                (folder / CONFIG_NAME).unlink(missing_ok=True)
                remove_left_keys(folder)
                shutil.rmtree(folder / "ringdb", ignore_errors=True)
            for folder in sorted(ended, key=lambda folder: folder.stat().st_mtime)[:-_LOGS_KEPT]:
                shutil.rmtree(folder, ignore_errors=True)


def require_usable_folder(folder: Path) -> None:
    """Make the folders and write into them. Raises FleetFolderError when that cannot be, or the disk is full."""
    probe = folder / ".writable"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for role in ROLES:
            (folder / role).mkdir(mode=0o700, exist_ok=True)
        probe.write_bytes(bytes(4096))
        probe.unlink()
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        raise FleetFolderError(f"{folder} cannot be written: {error.strerror}.") from None
    if free_bytes < LEAST_FREE_BYTES:
        raise FleetFolderError(f"The disk of {folder} is full: {free_bytes >> 20} MiB are left.")
