"""Fake wallet-rpc processes whose calls take as long as recorded ones: for what no machine has enough cores for.

Their own work, curves and all, is done on the event loop of whoever uses them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from monero_escrow.bench.latencies import Latencies
from monero_escrow.core.address import Network
from monero_escrow.core.roles import role_of_slot
from monero_escrow.fleet.instance import identify
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.fake.faults import Fault, Moment, Phase
from monero_escrow.monero.fake.files import FakeDisk
from monero_escrow.monero.fake.wallet_rpc import FakeWalletRpc
from monero_escrow.monero.versions import MoneroVersion, abilities_of

NETWORK = Network.TESTNET
FOR_QUICK = Latencies({"generate_from_keys": (0.2, 0.4), "open_wallet": (0.1, 0.3), "make_multisig": (0.05, 0.1)})
_VERSION = MoneroVersion(0, 18, 5, 3)
# A wallet does not pass one of these before the others have come to it: what precedes is as slow as the slowest.
_TOGETHER = frozenset({"prepare_multisig", "make_multisig", "exchange_multisig_keys", "close_wallet"})


class SlowCalls:
    """The fault plan of one stand-in: every call arrives after a recorded time. Keeps what it gave to which call."""

    def __init__(self, latencies: Latencies, seed: int) -> None:
        self.given: list[tuple[str, float]] = []
        self.at_work = False
        self._latencies = latencies
        self._rng = Random(seed)

    async def __call__(self, moment: Moment) -> Fault:
        if self.at_work and moment.phase is Phase.ARRIVING:
            seconds = self._latencies.drawn(moment.method, self._rng)
            self.given.append((moment.method, seconds))
            if seconds > 0:
                await asyncio.sleep(seconds)
        return Fault.NONE


def own_seconds(wallets: Sequence[Sequence[tuple[str, float]]]) -> float:
    """The least time a set-up can take whose wallets' calls, in order, took so long: rounds begin together.

    `wallets` are the (method, seconds) of each wallet of the trio.
    """
    rounds: list[list[float]] = []
    for calls in wallets:
        sums = [0.0]
        for method, seconds in calls:
            if method in _TOGETHER:
                sums.append(0.0)
            sums[-1] += seconds
        rounds.append(sums)
    return sum(max(sums[number] for sums in rounds if number < len(sums)) for number in range(max(map(len, rounds))))


async def slow_slots(plans: Sequence[SlowCalls]) -> list[Slot]:
    """A slot a plan, with a process of its own and already looked at."""
    slots = []
    for index, plan in enumerate(plans):
        url = f"http://127.0.0.1:{index + 1}"
        fake = FakeWalletRpc(url, FakeDisk(), Random(index), network=NETWORK, version=_VERSION, faults=plan)
        slot = Slot(index, role_of_slot(index), fake)
        slot.abilities = abilities_of(_VERSION)
        await identify(slot)
        slots.append(slot)
    return slots
