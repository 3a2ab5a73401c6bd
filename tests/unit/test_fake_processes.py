"""What only the fake can do: lose calls on purpose, sound the alarm over a nonce, and repeat itself from a seed.

What it has in common with the real programs is in `tests/conformance`.
"""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from monero_escrow.core.keys import WalletKeys
from monero_escrow.monero.errors import CallAbandonedError, NoWalletOpenError, ProcessUnreachableError
from monero_escrow.monero.fake.alarms import NonceReusedError
from monero_escrow.monero.fake.faults import Fault, Moment, Phase
from monero_escrow.monero.fake.files import FakeDisk
from monero_escrow.monero.fake.private_chain import FakePrivateChain
from monero_escrow.monero.fake.wallet_rpc import FakeWalletRpc
from monero_escrow.monero.versions import MoneroVersion

XMR = 10**12
PASSWORD = "p"
NEW, OLD = MoneroVersion.parse("0.18.5.3"), MoneroVersion.parse("0.18.4.0")


class Plan:
    """A fault plan: one fault at one method and phase, after a wait that the test ends."""

    def __init__(self) -> None:
        self.faults: dict[tuple[str, Phase], Fault] = {}
        self.waits: dict[tuple[str, Phase], asyncio.Event] = {}

    async def __call__(self, moment: Moment) -> Fault:
        here = (moment.method, moment.phase)
        if here in self.waits:
            await self.waits[here].wait()
        return self.faults.pop(here, Fault.NONE)


@pytest.fixture
def plan() -> Plan:
    return Plan()


@pytest.fixture
def wallet_rpc(plan: Plan) -> FakeWalletRpc:
    return FakePrivateChain(Random(7), NEW, faults=plan).wallet_rpc()


@pytest.mark.parametrize(
    ("phase", "fault", "took_effect"),
    [
        (Phase.ARRIVING, Fault.LOST, False),
        (Phase.ANSWERING, Fault.LOST, True),
        (Phase.ARRIVING, Fault.KILL, False),
        (Phase.ANSWERING, Fault.KILL, True),
    ],
)
async def test_a_call_is_lost_before_or_after_it_took_effect(
    wallet_rpc: FakeWalletRpc, plan: Plan, phase: Phase, fault: Fault, took_effect: bool
) -> None:
    plan.faults["create_wallet", phase] = fault
    with pytest.raises(CallAbandonedError):
        await wallet_rpc.create_wallet("w", PASSWORD)
    assert wallet_rpc.abandoned
    assert ("w" in wallet_rpc.disk.keys_files) == took_effect
    assert wallet_rpc.running == (fault is not Fault.KILL)


async def test_a_late_call_takes_effect_on_whatever_is_open_by_then(wallet_rpc: FakeWalletRpc, plan: Plan) -> None:
    await wallet_rpc.create_wallet("first", PASSWORD)
    first = await wallet_rpc.get_address()
    await wallet_rpc.create_wallet("second", PASSWORD)
    second = await wallet_rpc.get_address()
    plan.faults["open_wallet", Phase.ARRIVING] = Fault.LATE
    with pytest.raises(CallAbandonedError):
        await wallet_rpc.open_wallet("first", PASSWORD)
    assert await wallet_rpc.get_address() == second

    assert wallet_rpc.run_late_calls() == 1

    assert await wallet_rpc.get_address() == first


async def test_a_killed_process_is_not_there_until_it_is_started_and_then_has_nothing_open(
    wallet_rpc: FakeWalletRpc, plan: Plan
) -> None:
    await wallet_rpc.create_wallet("w", PASSWORD)
    wallet_rpc.kill()
    with pytest.raises(ProcessUnreachableError):
        await wallet_rpc.get_version()
    assert not wallet_rpc.abandoned
    wallet_rpc.start()
    with pytest.raises(NoWalletOpenError):
        await wallet_rpc.get_address()
    await wallet_rpc.open_wallet("w", PASSWORD)


@pytest.mark.parametrize(("phase", "took_effect"), [(Phase.ARRIVING, False), (Phase.ANSWERING, True)])
async def test_a_call_is_lost_where_it_was_when_its_process_was_killed(
    wallet_rpc: FakeWalletRpc, plan: Plan, phase: Phase, took_effect: bool
) -> None:
    plan.waits["create_wallet", phase] = asyncio.Event()
    call = asyncio.create_task(wallet_rpc.create_wallet("w", PASSWORD))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    wallet_rpc.kill()
    wallet_rpc.start()
    plan.waits["create_wallet", phase].set()
    with pytest.raises(CallAbandonedError):
        await call
    assert ("w" in wallet_rpc.disk.keys_files) == took_effect
    with pytest.raises(NoWalletOpenError):
        await wallet_rpc.get_address()


async def test_a_cancelled_call_marks_the_process_and_one_that_waits_for_its_turn_does_not(
    wallet_rpc: FakeWalletRpc, plan: Plan
) -> None:
    plan.waits["store", Phase.ARRIVING] = asyncio.Event()
    running, waiting = (asyncio.create_task(wallet_rpc.store()) for _ in range(2))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not wallet_rpc.abandoned
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert wallet_rpc.abandoned


async def test_proposing_twice_on_one_export_sounds_the_alarm() -> None:
    chain, (proposer, signer, _) = await spending_trio(NEW)
    await exchange_infos(proposer, signer)
    await proposer.transfer([(chain.miner.address, XMR // 4)], priority=1)
    with pytest.raises(NonceReusedError):
        await proposer.transfer([(chain.miner.address, XMR // 2)], priority=1)


async def test_a_restored_cache_file_sounds_the_alarm_when_it_signs_something_else() -> None:
    """Between two signatures the signer's files are put back to what they were before the first."""
    chain, (proposer, signer, third) = await spending_trio(NEW)
    info = await exchange_infos(proposer, signer)
    backup = dict(signer.disk.cache_files)
    first = await proposer.transfer([(chain.miner.address, XMR // 4)], priority=1)
    await signer.sign_multisig(first.txset)

    await third.export_multisig_info()
    await third.import_multisig_info([info])
    second = await third.transfer([(chain.miner.address, XMR // 2)], priority=1)
    signer.kill()
    signer.disk.cache_files.update(backup)
    signer.start()
    await signer.open_wallet("w", PASSWORD)
    await signer.refresh()
    await signer.import_multisig_info([await proposer.export_multisig_info()])
    with pytest.raises(NonceReusedError):
        await signer.sign_multisig(second.txset)


async def test_the_same_seed_gives_the_same_chain_addresses_and_fees() -> None:
    async def story(seed: int) -> list[object]:
        chain, wallets = await spending_trio(NEW, seed)
        await exchange_infos(*wallets[:2])
        proposal = await wallets[0].sweep_all(chain.miner.address, priority=1)
        return [chain.chain.top.hash, await wallets[0].get_address(), proposal]

    assert await story(1) == await story(1)
    assert await story(1) != await story(2)


async def spending_trio(
    version: MoneroVersion, seed: int = 7
) -> tuple[FakePrivateChain, tuple[FakeWalletRpc, FakeWalletRpc, FakeWalletRpc]]:
    """Three finished wallets with one unlocked deposit."""
    rng = Random(seed)
    chain = FakePrivateChain(rng, version)
    await chain.mine_until_spendable()
    wallets = (chain.wallet_rpc(), chain.wallet_rpc(), chain.wallet_rpc(disk=FakeDisk()))
    for wallet in wallets:
        keys = WalletKeys.from_entropy(rng.randbytes(32), chain.chain.network)
        await wallet.generate_from_keys(
            filename="w",
            password=PASSWORD,
            address=keys.address,
            spend_key=keys.private_spend_key_hex,
            view_key=keys.private_view_key_hex,
            restore_height=0,
        )
    said = [await wallet.prepare_multisig() for wallet in wallets]
    said = [
        await wallet.make_multisig(said[:place] + said[place + 1 :], threshold=2, password=PASSWORD)
        for place, wallet in enumerate(wallets)
    ]
    for _ in range(2):
        said = [
            (await wallet.exchange_multisig_keys(said[:place] + said[place + 1 :], password=PASSWORD)).message
            for place, wallet in enumerate(wallets)
        ]
    await chain.miner.pay([(await wallets[0].get_address(), XMR)])
    await chain.mine(10)
    for wallet in wallets:
        await wallet.refresh()
    return chain, wallets


async def exchange_infos(proposer: FakeWalletRpc, signer: FakeWalletRpc) -> str:
    """Both ways, stored; answers the signer's info."""
    infos = [await wallet.export_multisig_info() for wallet in (proposer, signer)]
    await proposer.import_multisig_info([infos[1]])
    await signer.import_multisig_info([infos[0]])
    await signer.store()
    return infos[1]
