"""What is held in memory: by the service with ten thousand open escrows, and by a wallet-rpc process.

Resident memory, as the kernel counts it, shared libraries included: of many processes together it says too much.
"""

from __future__ import annotations

import statistics
from contextlib import AsyncExitStack

from monero_escrow.bench.figures import Aim, Figure, Findings, On, Unit
from monero_escrow.bench.gauges import most_resident_bytes, resident_bytes
from monero_escrow.bench.planted import plant, scanned_height
from monero_escrow.bench.rows.flows import bare
from monero_escrow.bench.run import Run
from monero_escrow.bench.stage import Fleet, environment_in, fleet_on, offline_fleet, start, store_in
from monero_escrow.core.address import Network
from monero_escrow.core.roles import TRIO
from monero_escrow.demo.service_process import make_keys
from monero_escrow.monero.private_chain import PrivateChain
from monero_escrow.monero.wallet_rpc import WalletRpcClient

_NETWORK = Network.REGTEST
_LIMIT_SECONDS = 600.0


async def measure(run: Run) -> Findings:
    """The slots first, the service after them."""
    async with AsyncExitStack() as stack:
        run.teller.say("starting wallet-rpc processes")
        slots = await _of_slots(stack, await offline_fleet(stack, run.programs, run.folder / "slots", len(TRIO)))
    escrows = run.pick(50, 10_000)
    async with AsyncExitStack() as stack:
        service = await _of_service(stack, run, escrows)
    return Findings(
        figures=(
            Figure(f"the service, {escrows:,} open escrows", service[0], Unit.BYTES, On.REAL, Aim(300e6)),
            Figure("the most it ever held", service[1], Unit.BYTES, On.REAL),
            *(Figure(f"a slot, {name}", value, Unit.BYTES, On.REAL) for name, value in slots.items()),
        ),
        notes=("The escrows were written into the database; the service watches all of them by their view keys.",),
    )


async def _of_slots(stack: AsyncExitStack, fleet: Fleet) -> dict[str, float]:
    def median() -> float:
        return statistics.median(map(resident_bytes, fleet.pids))

    clients = [WalletRpcClient(process.url) for process in fleet.processes]
    for client in clients:
        stack.push_async_callback(client.aclose)
    found = {"idle, as started": median()}
    await bare(clients)
    found["idle, after a set-up"] = median()
    for number, client in enumerate(clients):
        await client.create_wallet(f"open-{number}", "")
    found["with a wallet open"] = median()
    return found


async def _of_service(stack: AsyncExitStack, run: Run, escrows: int) -> tuple[float, float]:
    run.teller.say("starting a private chain")
    chain = await stack.enter_async_context(PrivateChain(run.programs, run.folder / "monero"))
    await chain.mine(10)
    fleet = await fleet_on(chain, len(TRIO))
    folder = run.folder / "service"
    environment = environment_in(
        folder, _NETWORK, monero_rpc_urls=fleet.urls, monero_daemon_url=chain.monerod.url, chain_poll_seconds=1
    )
    keys = await make_keys(folder, environment)
    store = store_in(folder, _NETWORK)
    stack.callback(store.close)
    await plant(store, _NETWORK, escrows, lambda done: run.teller.say("writing open escrows", done, escrows))
    service = await start(stack, folder, environment, keys)
    for number in range(3):
        run.teller.say("letting it scan blocks", number, 3)
        await chain.mine(1)
        height = (await chain.daemon.get_info()).height

        async def scanned(height: int = height) -> bool:
            return await scanned_height(store) >= height - 1

        await run.until(scanned, "the last block to be scanned", limit_seconds=_LIMIT_SECONDS)
        (await service.shop.get("/api/escrows")).raise_for_status()
    return float(resident_bytes(service.process.pid)), float(most_resident_bytes(service.process.pid))
