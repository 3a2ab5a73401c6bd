"""Wallet processes that a dead service's calls still reach: held in the network, they run amid the next one's work.

A killed service does not know what it had sent, and the next one cannot. The worst such a call can do is to run just
before one of the new holder's own, so that is where it runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol, TypeVar

from monero_escrow.core.address import Network
from monero_escrow.monero.error_codes import refusal_of
from monero_escrow.monero.errors import MoneroRpcError
from monero_escrow.monero.fake.alarms import NonceLedger, NotModelledError
from monero_escrow.monero.fake.files import FakeDisk
from monero_escrow.monero.fake.private_chain import FakePrivateChain
from monero_escrow.monero.fake.wallet_rpc import FakeWalletRpc
from monero_escrow.monero.ports import SignedSet
from simulation.fate import Fate

T = TypeVar("T")

AMID = "a dead service's call ran amid the next one's work"
_OPENING = frozenset({"open_wallet", "generate_from_keys"})


class Listener(Protocol):
    """Hears of what the living service is about to do to a wallet."""

    def about_to_change(self, url: str, method: str, open_wallet: str | None) -> None: ...
    def about_to_sign(self, txset: str) -> None: ...


class WatchfulLedger(NonceLedger):
    """Remembers that it sounded the alarm: whoever asked might swallow the error."""

    def __init__(self) -> None:
        super().__init__()
        self.alarms: list[str] = []
        self.nonces_used = 0
        self.nobody_listens = False
        """What a dead service's call answers goes nowhere: a proposal nobody gets gives no nonce away."""

    def proposed(self, nonce: str, transaction: str) -> None:
        if not self.nobody_listens:
            super().proposed(nonce, transaction)

    def signed(self, nonce: str, transaction: str) -> None:
        self.nonces_used += 1
        try:
            super().signed(nonce, transaction)
        except AssertionError as error:
            self.alarms.append(str(error))
            raise


@dataclass(slots=True)
class _Effect:
    """One call's effect; `process` is told before it runs for somebody who waits for it."""

    method: str
    effect: Callable[[], object]
    process: SimulatedProcess

    def __call__(self) -> object:
        return self.process._run(self)


class SimulatedProcess(FakeWalletRpc):
    """One process, on its own disk unless one is given.

    `amid_work` is how likely a held call runs before a call of the living service.
    """

    def __init__(
        self,
        url: str,
        monero: FakePrivateChain,
        ledger: WatchfulLedger,
        fate: Fate,
        rng: Random,
        *,
        network: Network,
        disk: FakeDisk | None = None,
        amid_work: float = 0.0,
    ) -> None:
        super().__init__(
            url,
            disk or FakeDisk(),
            rng,
            network=network,
            version=monero.version,
            chain=monero.chain,
            ledger=ledger,
            faults=fate,
        )
        self.listener: Listener | None = None
        self._fate = fate
        self._ledger = ledger
        self._chance = Random(f"{url} {rng.random()}")
        self._amid_work = amid_work
        self._held: list[_Effect] = []

    def service_died(self) -> None:
        """The client is gone, and its mark with it. What it had sent runs now, or is held and arrives later."""
        self.forget_abandoned()
        if self._chance.random() < self._amid_work:
            self._held += [effect for effect in self._late if isinstance(effect, _Effect)]
            self._late.clear()
        else:
            self.run_late_calls()

    def kill(self) -> None:
        super().kill()
        self._held.clear()
        self._fate.haunted.discard(self.url)

    def run_late_calls(self) -> int:
        """Nobody gets the answers. What was held arrives too."""
        late: list[Callable[[], object]] = [*(held.effect for held in self._held), *self._late]
        self._held.clear()
        self._late.clear()
        for effect in late:
            self._run_unheard(effect.effect if isinstance(effect, _Effect) else effect)
        return len(late)

    async def sign_multisig(self, txset: str) -> SignedSet:
        if self.listener is not None:
            self.listener.about_to_sign(txset)
        return await super().sign_multisig(txset)

    async def _call(self, method: str, effect: Callable[[], T]) -> T:
        # FakeProcess takes any callable, and gives back what it gave.
        return await super()._call(method, _Effect(method, effect, self))  # type: ignore[arg-type]

    def _run(self, effect: _Effect) -> object:
        """A call of the living service, before which a dead one's may slip in."""
        if self._held and self._chance.random() < self._amid_work:
            self._run_unheard(self._held.pop(0).effect)
            self._fate.haunted.add(self.url)
            self._fate.struck[AMID] += 1
        if self.listener is not None and self.url not in self._fate.haunted:
            self.listener.about_to_change(self.url, effect.method, None if self._open is None else self._open.name)
        try:
            answer = effect.effect()
        except NotModelledError:
            if not self._fate.haunted:
                raise
            raise refusal_of(effect.method, -1, "") from None  # it was given what no service gives: a peer was haunted
        if effect.method in _OPENING:
            self._fate.haunted.discard(self.url)
        return answer

    def _run_unheard(self, effect: Callable[[], object]) -> None:
        self._ledger.nobody_listens = True
        try:
            with contextlib.suppress(MoneroRpcError, NotModelledError):
                effect()
        finally:
            self._ledger.nobody_listens = False
