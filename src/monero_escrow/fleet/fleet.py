"""All slots of the service put together: configured URLs and processes of its own, started, reloaded and ended.

To the rest both are one kind of slot, in one pool. What is done at a start, at a reload and at the end is written here;
how many processes of its own there are is `supervisor.py`'s and `upkeep.py`'s, and who is sick `health.py`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict

import structlog

from monero_escrow.clock import Clock
from monero_escrow.config import Settings, SettingsError, load_settings
from monero_escrow.core.address import Network
from monero_escrow.core.errors import EscrowError
from monero_escrow.fleet.health import HealthWatch
from monero_escrow.fleet.inspection import Ownership, inspect, inspect_all
from monero_escrow.fleet.local import LocalFleet
from monero_escrow.fleet.memory import require_enough_memory
from monero_escrow.fleet.orphans import end_orphans
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.fleet.reload import (
    Reloaded,
    ReloadRefusedError,
    UrlChanges,
    place_of,
    require_same_service,
    require_settings_file,
    starts_or_ends,
    url_changes,
)
from monero_escrow.fleet.rotation import Rotation
from monero_escrow.fleet.slot import Slot
from monero_escrow.fleet.supervisor import FleetSupervisor, limits_of
from monero_escrow.fleet.upkeep import Upkeep
from monero_escrow.monero.programs import MoneroPrograms, ProgramsMissingError, find_programs
from monero_escrow.monero.rpc import CallHook
from monero_escrow.monero.versions import LEAST_FOR_MAINNET

log = structlog.get_logger(__name__)

StaticSlots = Callable[[Settings], Sequence[Slot]]
"""Makes a slot for each configured URL; connects to none."""


def require_slots(settings: Settings) -> None:
    """Raises SettingsError when there would be no wallet-rpc process at all, or more than memory allows."""
    if not settings.monero_rpc_urls and not settings.runs_own_fleet:
        raise SettingsError(
            "FLEET_MAX_TRIOS is 0 and MONERO_RPC_URLS is not set: an escrow needs three wallet-rpc processes.",
            what_to_do="Leave FLEET_MAX_TRIOS out, and the service runs its own; or list processes in MONERO_RPC_URLS.",
        )
    if settings.runs_own_fleet:
        require_enough_memory(settings)


def suitable_programs(settings: Settings) -> MoneroPrograms:
    """Monero's programs for a fleet of our own. Raises ProgramsMissingError: none, or too old for the network."""
    programs = find_programs(settings.monero_bin_dir)
    if settings.monero_network is Network.MAINNET and programs.version < LEAST_FOR_MAINNET:
        raise ProgramsMissingError(
            f"Monero {programs.version} in {programs.folder} is older than {LEAST_FOR_MAINNET}, the least on mainnet.",
            what_to_do=f"Install Monero {LEAST_FOR_MAINNET} or newer (scripts/get-monero fetches it), or set "
            "MONERO_BIN_DIR to where it is.",
        )
    return programs


def _rotation_seconds(settings: Settings) -> float:
    return settings.fleet_rotate_hours * 3600


async def _nobody_else(_urls: Collection[str]) -> None:
    """A service that is alone need not ask whose processes they are."""


class Fleet:
    """The slots of one service. `prepare()`, then `run()` as one task beside the work, then `aclose()`.

    `settings` are those of the last reload, of which only the URLs, how they are reached, and the fleet's sizes and
    rotation count; all else stays as it was at the start. `read_settings` reads them anew.
    """

    def __init__(
        self,
        settings: Settings,
        pool: SlotPool,
        clock: Clock,
        ownership: Ownership,
        static_slots: StaticSlots,
        on_call: Callable[[str], CallHook],
        *,
        idle_work: frozenset[str] = frozenset(),
    ) -> None:
        self.settings = settings
        self.pool = pool
        self.local: LocalFleet | None = None
        self.upkeep: Upkeep | None = None
        self.supervisor: FleetSupervisor | None = None
        self.rotation: Rotation | None = None
        self.health = HealthWatch(pool, clock, self._inspect)
        self.read_settings: Callable[[], Settings] = load_settings
        self.claim_urls: Callable[[Collection[str]], Awaitable[None]] = _nobody_else
        """Told by a reload which configured processes are used, before it changes anything and after one has left.

        Raises when one of them serves another node.
        """
        self._at_start = settings
        self._clock = clock
        self._ownership = ownership
        self._static_slots = static_slots
        self._on_call = on_call
        self._idle_work = idle_work
        self._seen_off: set[Slot] = set()
        self._to_join: set[Slot] = set()
        """Those listed again while an earlier slot of the same process drains: they join when that has left."""
        self._reloading = asyncio.Lock()
        self._tasks: asyncio.TaskGroup | None = None

    async def prepare(self) -> None:
        """All that can be said against a start is said here; the configured processes are looked at.

        Raises SettingsError, ProgramsMissingError, FleetFolderError.
        """
        if self.settings.runs_own_fleet:
            await self._prepare_own(self.settings)
            self._size_own()
        else:  # there were some, perhaps, before other settings
            await end_orphans(self._at_start.fleet_folder)
        await self.look_at(self.pool.slots)
        for spare in self.pool.leftovers:
            log.warning("slot_spare", slot=spare.name, reason="beyond whole trios: only a spare of its class")

    async def _prepare_own(self, settings: Settings) -> None:
        """Everything for processes of our own, except to start them."""
        require_enough_memory(settings)
        programs = await asyncio.to_thread(suitable_programs, settings)
        local = LocalFleet(
            programs,
            self._at_start.fleet_folder,
            network=self._at_start.monero_network,
            daemon_url=self._at_start.monero_daemon_url,
            on_call=self._on_call,
        )
        await local.prepare()
        self.local = local
        self.upkeep = Upkeep(local, self.pool, self._clock)
        self.supervisor = FleetSupervisor(
            self.pool, self.upkeep, local.memory_bytes, self._clock, limits_of(settings), idle_work=self._idle_work
        )
        self.rotation = Rotation(self.pool, self.upkeep, self._clock, _rotation_seconds(settings))
        log.info("own_fleet", programs=str(programs.folder), monero=str(programs.version), folder=str(local.folder))

    def _size_own(self) -> None:
        if self.supervisor is not None:
            self.supervisor.set_limits(limits_of(self.settings))
        if self.rotation is not None:
            self.rotation.every_seconds = _rotation_seconds(self.settings)

    async def run(self) -> None:
        """Keep the slots as they should be, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                self._own_from_now_on()
                await self.health.run()
            finally:
                self._tasks = None  # before the group waits for its tasks: it takes no more

    async def _inspect(self, slot: Slot) -> None:
        await inspect(slot, self._at_start.monero_network, self._ownership)

    async def look_at(self, slots: Iterable[Slot]) -> None:
        """Look, and tell what is new."""
        before = {slot: slot.sick for slot in slots}
        await inspect_all(before, self.pool, self._at_start.monero_network, self._ownership)
        for slot, sick in before.items():
            if slot.sick is not None and slot.sick != sick:
                log.warning("slot_sick", slot=slot.name, reason=slot.sick)
            elif slot.sick is None and sick is not None:
                log.info("slot_well", slot=slot.name)

    async def reload(self) -> Reloaded:
        """Read the settings again and go over to their URL list, its credentials, and the fleet's sizes and rotation;
        all others wait for the next start.

        No lease is broken. Raises ReloadRefusedError, and has then changed nothing.
        """
        async with self._reloading:
            try:
                settings = await asyncio.to_thread(self._settings_anew)
                changes = await self._checked(settings)
                await self.claim_urls({*settings.monero_rpc_urls, *self._urls_in_use()})
            except ReloadRefusedError:
                raise
            except EscrowError as error:
                raise ReloadRefusedError(error.message, what_to_do=f"{error.what_to_do} Nothing was changed.") from None
            self.settings = settings
            await asyncio.gather(*(self._join(slot) for slot in changes.joining))
            self._size_own()  # not before: what drains is not missed if what was listed for it is there
            for slot in changes.leaving:
                self._see_off(slot)
        reloaded = Reloaded(
            joined=tuple(slot.name for slot in changes.joining),
            draining=tuple(slot.name for slot in changes.leaving),
            sick={slot.name: slot.sick for slot in changes.joining if slot.sick is not None},
            min_trios=settings.fleet_min_trios if settings.runs_own_fleet else 0,
            max_trios=settings.fleet_max_trios if settings.runs_own_fleet else 0,
        )
        log.info("reloaded", **asdict(reloaded))
        return reloaded

    def _settings_anew(self) -> Settings:
        """Raises ReloadRefusedError, SettingsError."""
        require_settings_file()
        try:
            settings = self.read_settings()
        except (OSError, UnicodeError) as error:
            raise ReloadRefusedError(f"The settings cannot be read: {error}.") from None
        require_same_service(self._at_start, settings)
        return settings

    async def _checked(self, settings: Settings) -> UrlChanges:
        """What these settings change, after everything that can be said against them."""
        if self._tasks is None:
            raise starts_or_ends()
        require_slots(settings)
        staying = [slot for slot in self.pool.slots if not slot.managed and not slot.draining]
        changes = url_changes([*staying, *self._to_join], self._static_slots(settings))
        if settings.runs_own_fleet and self.upkeep is None:
            await self._prepare_own(settings)
            self._own_from_now_on()
        return changes

    def _own_from_now_on(self) -> None:
        if self._tasks is not None and self.upkeep is not None and self.supervisor is not None:
            self._tasks.create_task(self.upkeep.run())
            self._tasks.create_task(self.supervisor.run())
        if self._tasks is not None and self.rotation is not None:
            self._tasks.create_task(self.rotation.run())

    async def _join(self, slot: Slot) -> None:
        """Look at it, and let it join. One that cannot be used joins sick, and is looked at again."""
        before = [other for other in self.pool.slots if place_of(other) == place_of(slot)]
        if before:  # it drains, from an earlier reload: one process is never two slots
            slot.sick = f"{slot.name} joins as soon as its last lease from before is over."
            self._to_join.add(slot)
            self._beside(self._join_after(before[0], slot))
            return
        try:
            await self._inspect(slot)
        except EscrowError as error:
            slot.sick = f"{error.message.rstrip('.')}. {error.what_to_do}"
        self.pool.add(slot)

    async def _join_after(self, before: Slot, slot: Slot) -> None:
        with self.pool.expecting(slot.role):
            await self.pool.until_gone(before)
            async with self._reloading:  # a reload goes by what has joined, and by what is to join: never by neither
                if slot in self._to_join:  # it may have been taken off the list again
                    self._to_join.discard(slot)
                    slot.sick = None
                    await self._join(slot)

    def _urls_in_use(self) -> set[str]:
        """Those of the list, and of what drains still."""
        static = {slot.rpc.url for slot in (*self.pool.slots, *self._to_join) if not slot.managed}
        return static | set(self.settings.monero_rpc_urls)

    def _see_off(self, slot: Slot) -> None:
        """Drain it, and close the connection when it has left. One that has not joined yet never does."""
        if slot in self._to_join:
            self._to_join.discard(slot)
            self._beside(slot.rpc.aclose())
            return

        async def see_off() -> None:
            await self.pool.until_gone(slot)
            self._seen_off.discard(slot)
            await slot.rpc.aclose()
            log.info("slot_left", slot=slot.name)
            with suppress(EscrowError):  # the others learn it with the next reload, or when this node ends
                await self.claim_urls(self._urls_in_use())

        self._seen_off.add(slot)
        self.pool.drain(slot)
        self._beside(see_off())

    def _beside(self, work: Coroutine[object, object, None]) -> None:
        """Run it beside the service; not at all if that ends."""
        if self._tasks is None:
            work.close()
        else:
            self._tasks.create_task(work)

    async def aclose(self) -> None:
        """End every process of our own and close every connection. Leases are not broken."""
        await self.pool.aclose()
        if self.local is not None:
            await self.local.aclose()
        for slot in {*self.pool.slots, *self._seen_off, *self._to_join}:
            await slot.rpc.aclose()
