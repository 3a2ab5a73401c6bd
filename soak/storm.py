"""The storm: seeded kills and spoilt calls, each counted by what it struck and in which step.

Some kills come at any moment. Most wait for a call (a method of set-up or payout, before or after its answer) and
strike then: at first only at methods that were struck least, and the longer none comes, at others too. So every step
gets its share.

Of a service that runs its own wallet-rpc processes no call to them is seen: those are found by the fleet's folder, and
struck at any moment.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from monero_escrow.fleet.orphans import processes_of
from monero_escrow.monero.processes import ChildProcess
from soak.proxy import Phase, Proxy, Seen, Verdict

SERVICE: Final = "service"
SLOT: Final = "wallet-rpc"
DAEMON: Final = "monerod"

# Every call of set-up, watching and payout. The first column of the summary.
METHODS: Final = (
    *("generate_from_keys", "set_subaddress_lookahead", "prepare_multisig", "make_multisig", "exchange_multisig_keys"),
    *("is_multisig", "query_key", "get_address", "open_wallet", "close_wallet", "refresh", "incoming_transfers"),
    *("get_transfers", "store", "export_multisig_info", "import_multisig_info", "transfer", "sweep_all"),
    *("describe_transfer", "sign_multisig", "submit_multisig"),
)
ANY_MOMENT: Final = "(any moment)"
_ASKED_ALL_THE_TIME: Final = "get_address"  # before every call that changes anything

_WEIGHTS: Final[Mapping[str, int]] = {SERVICE: 3, SLOT: 10, DAEMON: 4}
_AT_ANY_MOMENT: Final = 0.2
_DISK_LOST: Final = 0.1
_PATIENCE_CALLS: Final = 75
_LESS_CHOOSY_EVERY_CALLS: Final = 25
_AFTER_CUT_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How hard it blows: calls between kills (mean), and the share of calls that are delayed, dropped and cut off.

    Counting calls instead of seconds lets a slow machine get as far between two kills as a fast one. A silence is long
    enough after `silence_seconds`: there a kill comes without.
    """

    gap_calls: float = 10.0
    silence_seconds: float = 6.0
    delayed: float = 0.02
    longest_delay_seconds: float = 1.5
    dropped: float = 0.002
    cut: float = 0.004


@dataclass(frozen=True, slots=True)
class Slot:
    """A wallet-rpc process, the proxy before it, and its disk."""

    child: ChildProcess
    proxy: Proxy
    disk: Path


@dataclass(frozen=True, slots=True)
class _Target:
    """Whom to kill at the next call in this phase, and from how many calls on that is waited for."""

    kind: str
    phase: Phase
    since_calls: int


class Storm:
    """Blows until `kills` have struck. `watch` is every proxy's watcher."""

    def __init__(self, rng: random.Random, kills: int, pace: Pace) -> None:
        self.kills = kills
        self.struck: Counter[tuple[str, str]] = Counter()
        self.spoilt: Counter[tuple[str, str]] = Counter()
        self.disks_lost = 0
        self.restarted_after_cut = 0
        self._rng = rng
        self._pace = pace
        self._blows = False
        self._target: _Target | None = None
        self._calls = 0
        self._called = asyncio.Event()
        self._clearing: set[asyncio.Task[None]] = set()
        self._slots: Mapping[str, Slot] = {}
        self._daemon: tuple[ChildProcess, Sequence[Proxy]] | None = None
        self._service: ChildProcess | None = None
        self._own_fleet: Path | None = None

    @property
    def strikes(self) -> int:
        """How many kills have struck."""
        return self.struck.total()

    def over(
        self,
        service: ChildProcess,
        daemon: ChildProcess,
        daemon_proxy: Proxy,
        slots: Sequence[Slot],
        own_fleet: Path | None,
    ) -> None:
        """What it blows over. `own_fleet` is the folder of the service's own processes, if it runs any."""
        self._service = service
        self._own_fleet = own_fleet
        self._daemon = (daemon, [daemon_proxy])
        self._slots = {slot.proxy.name: slot for slot in slots}

    async def blow(self) -> None:
        """Until all kills have struck; then nothing is spoilt any more, and what was cut off has been restarted."""
        self._blows = True
        try:
            while self.strikes < self.kills:
                await self._calls_pass(int(self._rng.uniform(0.2, 1.8) * self._pace.gap_calls))
                if self._rng.random() < _AT_ANY_MOMENT or not await self._strike_at_a_call():
                    await self._kill(self._kind(), ANY_MOMENT, None)
        finally:
            self._blows = False
            self._target = None
        if self._clearing:
            await asyncio.wait(self._clearing)

    async def watch(self, seen: Seen) -> Verdict:
        """A proxy's question: strike now, spoil the call, or let it go on."""
        if not self._blows:
            return Verdict.GO_ON
        if seen.phase is Phase.ASKED and seen.method in METHODS and seen.method != _ASKED_ALL_THE_TIME:
            self._calls += 1
            self._called.set()
        target = self._target
        if target is not None and self._fits(target, seen):
            self._target = None
            await self._kill(target.kind, seen.method, seen.target)
            self._called.set()
            return Verdict.GO_ON
        return await self._spoil(seen)

    async def _calls_pass(self, calls: int, unless: Callable[[], bool] = lambda: False) -> None:
        """Until so many more calls of wallets have come, or none comes for long."""
        enough = self._calls + calls
        while self._calls < enough and not unless():
            self._called.clear()
            try:
                async with asyncio.timeout(self._pace.silence_seconds):
                    await self._called.wait()
            except TimeoutError:
                return

    def _kind(self) -> str:
        return self._rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]

    async def _strike_at_a_call(self) -> bool:
        """Wait for a call that fits; False when none comes."""
        target = self._target = _Target(self._kind(), self._rng.choice(list(Phase)), self._calls)
        await self._calls_pass(_PATIENCE_CALLS, unless=lambda: self._target is not target)
        hit = self._target is not target
        self._target = None
        return hit

    def _fits(self, target: _Target, seen: Seen) -> bool:
        if seen.phase is not target.phase or seen.method not in METHODS:
            return False
        waited = self._calls - target.since_calls
        least = min(self.struck[target.kind, method] for method in METHODS)
        return self.struck[target.kind, seen.method] <= least + waited // _LESS_CHOOSY_EVERY_CALLS

    async def _kill(self, kind: str, method: str, target: str | None) -> None:
        """kill -9, at once. A process that is down already is not killed again."""
        if kind == SLOT and self._own_fleet is not None:
            killed = await asyncio.to_thread(_kill_one_of, self._own_fleet, self._rng)
        elif kind == SLOT:
            slot = self._slots.get(target or "") or self._rng.choice(list(self._slots.values()))
            killed = await self._kill_slot(slot, wipes=self._rng.random() < _DISK_LOST)
        elif kind == DAEMON and self._daemon is not None:
            killed = await _kill(*self._daemon)
        else:
            killed = self._service is not None and await _kill(self._service, ())
        self.struck[kind, method] += killed

    async def _kill_slot(self, slot: Slot, *, wipes: bool) -> bool:
        killed = await _kill(slot.child, [slot.proxy])
        if killed and wipes:
            self.disks_lost += 1
            shutil.rmtree(slot.disk, ignore_errors=True)
            slot.disk.mkdir(mode=0o700, parents=True, exist_ok=True)
        return killed

    async def _spoil(self, seen: Seen) -> Verdict:
        """Delay the call, drop it before the program has it, or cut it off when it is done."""
        what = self._rng.random()
        kind = SLOT if seen.target in self._slots else DAEMON
        if what < self._pace.delayed and seen.phase is not Phase.PASSED_ON:
            self.spoilt[kind, "delayed"] += 1
            await asyncio.sleep(self._rng.uniform(0.05, self._pace.longest_delay_seconds))
            return Verdict.GO_ON
        what -= self._pace.delayed
        share, word = {
            Phase.ASKED: (self._pace.dropped, "dropped"),
            Phase.PASSED_ON: (0.0, ""),
            Phase.ANSWERED: (self._pace.cut, "cut after it was handled"),
        }[seen.phase]
        if not 0 <= what < share:
            return Verdict.GO_ON
        self.spoilt[kind, word] += 1
        if seen.target in self._slots:
            self._restart_soon(self._slots[seen.target])
        return Verdict.CUT

    def _restart_soon(self, slot: Slot) -> None:
        """As a supervised fleet would: a process whose call has no answer is not waited for, but started anew."""
        task = asyncio.create_task(self._restart(slot, self._rng.uniform(0, _AFTER_CUT_SECONDS)))
        self._clearing.add(task)
        task.add_done_callback(self._clearing.discard)

    async def _restart(self, slot: Slot, after_seconds: float) -> None:
        await asyncio.sleep(after_seconds)
        self.restarted_after_cut += await _kill(slot.child, [slot.proxy])


def _kill_one_of(fleet: Path, rng: random.Random) -> bool:
    """kill -9 of one process of a service's own fleet; False when none runs."""
    running = sorted(process.pid for process in processes_of(fleet))
    with suppress(ProcessLookupError):
        if running:
            os.kill(rng.choice(running), signal.SIGKILL)
            return True
    return False


async def _kill(child: ChildProcess, proxies: Sequence[Proxy]) -> bool:
    if not child.running:
        return False
    for proxy in proxies:
        proxy.refuse()
    await child.kill()
    return True
