"""One process: a single thread, at most one open wallet, and a disk that outlives it.

Calls run one after another, each at one moment and as a whole; what a fault plan says decides whether the caller learns
of it. A killed process forgets everything that was not written.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

from monero_escrow.monero.calls import WALLET_CALLS
from monero_escrow.monero.errors import CallAbandonedError, MoneroRpcError, ProcessUnreachableError
from monero_escrow.monero.fake.alarms import NotModelledError
from monero_escrow.monero.fake.faults import Fault, FaultPlan, Moment, Phase
from monero_escrow.monero.fake.files import FakeDisk
from monero_escrow.monero.fake.spending import OpenWallet

T = TypeVar("T")


class FakeProcess:
    """What lives and dies apart from the calls, and what its client knows: `abandoned` and `abandoned_marks`.

    A life of the process stands for a connection to it: the next life is reached over another one.
    """

    def __init__(self, url: str, disk: FakeDisk, faults: FaultPlan) -> None:
        self.disk = disk
        self.abandoned = False
        self.running = True
        self._url = url
        self._faults = faults
        self._open: OpenWallet | None = None
        self._life = 0
        self._marks: frozenset[str] = frozenset()
        self._marks_read: frozenset[str] = frozenset()
        self._marks_read_in = 0
        self._abandoned_in: frozenset[int] = frozenset()
        self._turn = asyncio.Lock()
        self._late: list[Callable[[], object]] = []

    def __repr__(self) -> str:
        return f"FakeWalletRpc({self._url!r})"

    @property
    def url(self) -> str:
        return self._url

    @property
    def abandoned_marks(self) -> frozenset[str]:
        return self._marks_read if self._abandoned_in == {self._marks_read_in} else frozenset()

    def forget_abandoned(self) -> None:
        self.abandoned = False
        self._abandoned_in = frozenset()

    async def aclose(self) -> None:
        return

    def kill(self) -> None:
        """End it as a crash would: memory and locks are gone, and so is the call that is running."""
        self._shut(None)
        self._late.clear()
        self._marks = frozenset()
        self._life += 1
        self.running = False

    def start(self) -> None:
        """Start it again on the same disk, with nothing open."""
        self.running = True

    def run_late_calls(self) -> int:
        """Let calls that were given up on take effect now, on whatever wallet is open; answers how many did."""
        late, self._late = self._late, []
        for effect in late:
            with contextlib.suppress(MoneroRpcError):  # nobody waits for the answer
                effect()
        return len(late)

    def _opened(self, wallet: OpenWallet) -> None:
        """This wallet is open now instead of any other, and locked for other processes.

        A wallet that was open already loses its lock by being opened again, as the real one does.
        """
        again = self.disk.locks.get(wallet.name) is self
        self._shut(wallet)
        if not again:
            self.disk.locks[wallet.name] = self

    def _shut(self, successor: OpenWallet | None) -> None:
        """Drop the open wallet and its lock."""
        if self._open is not None and self.disk.locks.get(self._open.name) is self:
            del self.disk.locks[self._open.name]
        self._open = successor

    async def _call(self, method: str, effect: Callable[[], T]) -> T:
        """Run one call when its turn comes, through whatever the fault plan has for it."""
        async with self._turn:
            if not self.running:
                raise ProcessUnreachableError(self._url, method, "nobody listens")
            life = self._life
            try:
                fault = await self._faults(Moment(self._url, method, Phase.ARRIVING))
            except asyncio.CancelledError:
                self._give_up(method, life, effect)
                raise
            if fault is Fault.UNREACHABLE:
                raise ProcessUnreachableError(self._url, method, "nobody listens")
            if fault is Fault.LATE:
                self._give_up(method, life, effect)
            self._raise_if_lost(method, fault, life)
            answer = effect()
            try:
                fault = await self._faults(Moment(self._url, method, Phase.ANSWERING))
            except asyncio.CancelledError:
                self._abandon(method, life)
                raise
            self._raise_if_lost(method, fault, life)
            return answer

    def _abandon(self, method: str, life: int) -> None:
        if WALLET_CALLS[method].rests:
            self.abandoned = True
            self._abandoned_in |= {life}

    def _give_up(self, method: str, life: int, effect: Callable[[], object]) -> None:
        """Nobody waits any more for a call that was sent; unless the process died of late, it will still run."""
        self._abandon(method, life)
        if life == self._life:
            self._late.append(effect)

    def _raise_if_lost(self, method: str, fault: Fault, life: int) -> None:
        if fault is Fault.KILL and life == self._life:
            self.kill()
        if fault is Fault.UNREACHABLE:
            raise NotModelledError("a process that cannot be reached when it answers")
        if fault is not Fault.NONE or life != self._life:
            self._abandon(method, life)
            raise CallAbandonedError(self._url, method, "no answer")
