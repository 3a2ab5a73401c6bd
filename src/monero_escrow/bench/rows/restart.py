"""A restart with a thousand open escrows: how long until the first answer, and until all of them are watched again?

The service runs once, so that it knows the chain; it ends, a block is mined that it has not seen, and it starts anew.
The clock runs from the start of its process. Everything is resumed when the missed block has been tried with every view
key. No wallet may be opened for it.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack

from monero_escrow.bench.figures import Aim, Figure, Findings, On, Series, Unit, percentile
from monero_escrow.bench.planted import plant, scanned_height
from monero_escrow.bench.run import Run
from monero_escrow.bench.service_log import logged_calls
from monero_escrow.bench.stage import environment_in, fleet_on, start, store_in
from monero_escrow.core.address import Network
from monero_escrow.core.roles import TRIO
from monero_escrow.demo.service_process import make_keys
from monero_escrow.monero.private_chain import PrivateChain
from monero_escrow.store.store import SqlStore

_NETWORK = Network.REGTEST
_LIMIT_SECONDS = 300.0
_OPENING = frozenset({"open_wallet", "generate_from_keys"})  # done, that is: an inspection asks for one that cannot be


async def measure(run: Run) -> Findings:
    """Several restarts, one after another, of one service."""
    escrows, restarts = run.pick(20, 1_000), run.pick(1, 5)
    answers, resumed, openings = [], [], 0
    async with AsyncExitStack() as stack:
        run.teller.say("starting a private chain")
        chain = await stack.enter_async_context(PrivateChain(run.programs, run.folder / "monero"))
        await chain.mine(10)
        fleet = await fleet_on(chain, len(TRIO))
        folder = run.folder / "service"
        environment = environment_in(
            folder,
            _NETWORK,
            monero_rpc_urls=fleet.urls,
            monero_daemon_url=chain.monerod.url,
            chain_poll_seconds=1,
            log_level="debug",
        )
        keys = await make_keys(folder, environment)
        store = store_in(folder, _NETWORK)
        stack.callback(store.close)
        await plant(store, _NETWORK, escrows, lambda done: run.teller.say("writing open escrows", done, escrows))
        for number in range(restarts + 1):  # the first start is not counted: it has never seen the chain
            run.teller.say("restarting", number, restarts)
            await chain.mine(1)
            since, begun = time.time(), time.perf_counter()
            async with AsyncExitStack() as life:
                service = await start(life, folder, environment, keys)
                answer = await service.shop.get("/api/escrows")
                answer.raise_for_status()
                answered = time.perf_counter() - begun
                await _until_scanned(run, store, chain)
                if number > 0:
                    answers.append(answered)
                    resumed.append(time.perf_counter() - begun)
                    openings += sum(call.ok and call.method in _OPENING for call in logged_calls(service.log, since))
    first, all_of_them = "to the first answer", "to all watched again"
    return Findings(
        figures=(
            Figure(f"{escrows} open: {first}", percentile(answers, 50), Unit.SECONDS, On.REAL, Aim(3)),
            Figure(f"{escrows} open: {all_of_them}", percentile(resumed, 50), Unit.SECONDS, On.REAL, Aim(10)),
            Figure("wallets opened for it", float(openings), Unit.COUNT, On.REAL, Aim(0)),
        ),
        series=(Series(first, Unit.SECONDS, tuple(answers)), Series(all_of_them, Unit.SECONDS, tuple(resumed))),
        notes=(f"Medians of {restarts} restarts. The escrows were written into the database, not set up.",),
    )


async def _until_scanned(run: Run, store: SqlStore, chain: PrivateChain) -> None:
    async def scanned() -> bool:
        return await scanned_height(store) >= (await chain.daemon.get_info()).height - 1

    await run.until(scanned, "the last block to be scanned", limit_seconds=_LIMIT_SECONDS)
