"""What it costs a call that a wallet process and the service know each other: a login, and certificates on both sides.

Three idle processes of the same program: one without any, one with a digest login, and one as the fleet has them, over
mutual TLS with a login. They are asked in turn, call by call, in an order that changes each round, over a connection
each that stays open. The call is `get_version`, which does nothing: what differs is the way there. A connection's first
call is measured beside it, for it is where the handshake and the challenge fall.
"""

from __future__ import annotations

import secrets
import statistics
import time
from contextlib import AsyncExitStack
from random import Random

from monero_escrow.bench.figures import Aim, Chart, Figure, Findings, On, Series, Unit, p50_and_p99
from monero_escrow.bench.run import Run
from monero_escrow.core.address import Network
from monero_escrow.monero.access import fresh_access
from monero_escrow.monero.processes import start_wallet_rpc
from monero_escrow.monero.rpc import Credentials
from monero_escrow.monero.wallet_rpc import WalletRpcClient

_PLAIN, _LOGIN, _GUARDED = "plain HTTP, no login", "plain HTTP, digest login", "mutual TLS and digest login"
_WARMING = 20


async def measure(run: Run) -> Findings:
    """Warm connections first, new ones after them."""
    rounds, connections = run.pick(50, 5_000), run.pick(5, 200)
    async with AsyncExitStack() as stack:
        run.teller.say("starting three wallet-rpc processes")
        clients = await _clients(stack, run)
        for client in clients.values():
            await _calls(client, _WARMING)
        run.teller.say("calling over warm connections")
        warm = await _in_turn(clients, rounds, anew=False)
        run.teller.say("calling over new connections")
        cold = await _in_turn(clients, connections, anew=True)
    added = [guarded - plain for guarded, plain in zip(warm[_GUARDED], warm[_PLAIN], strict=True)]
    figures: list[Figure] = []
    for name, values in warm.items():
        figures += p50_and_p99(f"a call, {name}", values, Unit.SECONDS, On.REAL)
    return Findings(
        figures=(
            Figure(
                "what TLS and digest add to a call, p50",
                statistics.median(added),
                Unit.SECONDS,
                On.REAL,
                Aim(2e-3),
                f"of {len(added)} pairs",
            ),
            *figures,
            *(
                Figure(f"a connection's first call, {name}, p50", statistics.median(values), Unit.SECONDS, On.REAL)
                for name, values in cold.items()
            ),
        ),
        series=tuple(Series(f"a call, {name}", Unit.SECONDS, tuple(values)) for name, values in warm.items()),
        chart=Chart.CURVES,
        notes=(
            "A warm call is one round trip in all three: the digest's nonce is good for the whole connection.",
            "The keys are P-256; a connection is made at a slot's start and after a minute of silence.",
        ),
    )


async def _clients(stack: AsyncExitStack, run: Run) -> dict[str, WalletRpcClient]:
    """One of each kind, to a process of its own."""
    login = Credentials("bench", secrets.token_hex(32))
    access = fresh_access(run.folder / "guarded")
    clients = {}
    for name, folder, credentials in ((_PLAIN, "plain", None), (_LOGIN, "login", login), (_GUARDED, "guarded", None)):
        guard = access if name == _GUARDED else None
        process = await start_wallet_rpc(
            run.programs,
            run.folder / folder,
            network=Network.TESTNET,
            daemon_url=None,
            credentials=credentials,
            access=guard,
        )
        stack.push_async_callback(process.stop)
        clients[name] = WalletRpcClient(
            process.url, credentials=guard.login if guard else credentials, tls=guard.tls if guard else None
        )
        stack.push_async_callback(clients[name].aclose)
    return clients


async def _calls(client: WalletRpcClient, times: int) -> None:
    for _ in range(times):
        await client.get_version()


async def _in_turn(clients: dict[str, WalletRpcClient], rounds: int, *, anew: bool) -> dict[str, list[float]]:
    """Seconds of each call, the same number for each client; `anew` over a new connection each time."""
    seconds: dict[str, list[float]] = {name: [] for name in clients}
    order, rng = list(clients), Random(2)
    for _ in range(rounds):
        rng.shuffle(order)
        for name in order:
            if anew:
                await clients[name].aclose()
            begun = time.perf_counter()
            await clients[name].get_version()
            seconds[name].append(time.perf_counter() - begun)
    return seconds
