"""Cold set-ups side by side: the original's flow, the bare calls at their best, and ours over HTTP.

Interleaved rounds on one machine, on every version of Monero that is here; medians, because the RSA keys that wallets
make for themselves vary by seconds. What is published are ratios within a run: they bear a busy machine, times do not.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from monero_escrow.bench.figures import Aim, Chart, Figure, Findings, On, Series, Unit
from monero_escrow.bench.gauges import cpu_seconds
from monero_escrow.bench.rows import flows
from monero_escrow.bench.run import Run
from monero_escrow.bench.stage import offline_fleet, offline_service
from monero_escrow.core.roles import TRIO
from monero_escrow.monero.errors import ProcessUnreachableError
from monero_escrow.monero.processes import free_port
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.versions import LEAST_SUPPORTED, MoneroVersion
from monero_escrow.monero.wallet_rpc import WalletRpcClient

_START_LIMIT_SECONDS: Final = 60.0
_ORIGINALS_VERSION: Final = MoneroVersion(0, 18, 0, 0)
_OURS, _BARE, _ORIGINAL = "ours", "bare calls", "original"


@dataclass
class Flow:
    """One flow on one version: how it is run, whose CPU it uses, and what each round took."""

    name: str
    once: Callable[[], Awaitable[object]]
    wallets: list[int]
    service: list[int] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    wallets_cpu: list[float] = field(default_factory=list)
    service_cpu: list[float] = field(default_factory=list)

    async def round(self) -> None:
        """One cold set-up, timed."""
        wallets, service, begun = cpu_seconds(self.wallets), cpu_seconds(self.service), time.perf_counter()
        await self.once()
        self.wall.append(time.perf_counter() - begun)
        self.wallets_cpu.append(cpu_seconds(self.wallets) - wallets)
        self.service_cpu.append(cpu_seconds(self.service) - service)

    @property
    def seconds(self) -> float:
        """Of the median round."""
        return statistics.median(self.wall)

    @property
    def cpu(self) -> float:
        """Of the median round, wallets and service."""
        return statistics.median(map(sum, zip(self.wallets_cpu, self.service_cpu, strict=True)))


async def measure(run: Run) -> Findings:
    """Every flow on every version, in turn, round after round; ours and the bare calls on supported versions only."""
    rounds = run.pick(1, 20)
    async with AsyncExitStack() as stack:
        run.teller.say("starting wallet-rpc processes and services")
        versions = run.pick(run.every_version[:1], run.every_version)
        flows_of = {programs.version: await _flows(stack, run, programs) for programs in versions}
        for number in range(rounds):
            for version, some in flows_of.items():
                for flow in some.values():
                    run.teller.say(f"setting up, {flow.name} on Monero {version}, round", number + 1, rounds)
                    await flow.round()
    return Findings(
        figures=tuple(_figures(flows_of)),
        series=tuple(
            Series(f"{flow.name}, {version}", Unit.SECONDS, tuple(flow.wall))
            for version, some in flows_of.items()
            for flow in some.values()
        ),
        chart=Chart.CURVES,
        notes=(f"Medians of {rounds} interleaved rounds. The bare calls are what ours would be if it cost nothing.",),
    )


def _figures(flows_of: Mapping[MoneroVersion, Mapping[str, Flow]]) -> list[Figure]:
    newest, own = max(flows_of), flows_of.get(_ORIGINALS_VERSION)
    figures = []
    for version, some in flows_of.items():
        ours = some.get(_OURS)
        if ours is None:
            continue
        aimed = version == newest
        beside = [(f"the original's flow on {version}", some[_ORIGINAL], (0.5, 0.9))]
        if own is not None:
            beside.append((f"the original's on {_ORIGINALS_VERSION}, its flags", own[_ORIGINAL], (0.3, 0.5)))
        beside.append(("the bare calls", some[_BARE], (0.0, 0.0)))
        for name, other, (wall, cpu) in beside:
            ratios = (("wall", ours.seconds / other.seconds, wall), ("CPU", ours.cpu / other.cpu, cpu))
            figures += [
                Figure(
                    f"{version}: ours ÷ {name}, {what}", ratio, Unit.SHARE, On.REAL, Aim(aim) if aimed and aim else None
                )
                for what, ratio, aim in ratios
            ]
        share = sum(ours.service_cpu) / (sum(ours.service_cpu) + sum(ours.wallets_cpu))
        figures.append(Figure(f"{version}: the service's share of the CPU", share, Unit.SHARE, On.REAL, Aim(0.05)))
    for version, some in flows_of.items():
        figures += [Figure(f"{version}: {flow.name}", flow.seconds, Unit.SECONDS, On.REAL) for flow in some.values()]
        figures += [Figure(f"{version}: {flow.name}, CPU", flow.cpu, Unit.SECONDS, On.REAL) for flow in some.values()]
    return figures


async def _flows(stack: AsyncExitStack, run: Run, programs: MoneroPrograms) -> dict[str, Flow]:
    folder = run.folder / str(programs.version)
    pids, clients = await _original_fleet(stack, run, programs, folder / "original")
    found = {_ORIGINAL: Flow(_ORIGINAL, partial(flows.original, clients), pids)}
    if programs.version >= LEAST_SUPPORTED:
        fast = await offline_fleet(stack, programs, folder / "bare", len(TRIO))
        bare_clients = [_client(stack, process.url) for process in fast.processes]
        found[_BARE] = Flow(_BARE, partial(flows.bare, bare_clients), fast.pids)
        slots = await offline_fleet(stack, programs, folder / "ours", len(TRIO))
        service = await offline_service(stack, slots, folder / "service", log_level="warning")
        found[_OURS] = Flow(_OURS, service.init_escrow, slots.pids, [service.process.pid])
    return found


async def _original_fleet(
    stack: AsyncExitStack, run: Run, programs: MoneroPrograms, folder: Path
) -> tuple[list[int], list[WalletRpcClient]]:
    """Processes as the original document's start script starts them: a daemon's address that nobody answers at."""
    (folder / "wallets").mkdir(parents=True)
    pids, clients = [], []
    for _ in TRIO:
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            *(str(programs.wallet_rpc), "--rpc-bind-port", str(port), "--disable-rpc-login"),
            *("--wallet-dir", str(folder / "wallets"), "--daemon-address", "http://127.0.0.1:18081"),
            *("--testnet", "--log-level", "2", "--offline"),
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        stack.push_async_callback(_stop, process)
        pids.append(process.pid)
        clients.append(_client(stack, f"http://127.0.0.1:{port}"))
    for client in clients:
        await run.until(partial(_answers, client), "a process to start", limit_seconds=_START_LIMIT_SECONDS)
    return pids, clients


def _client(stack: AsyncExitStack, url: str) -> WalletRpcClient:
    client = WalletRpcClient(url)
    stack.push_async_callback(client.aclose)
    return client


async def _answers(client: WalletRpcClient) -> bool:
    with suppress(ProcessUnreachableError):
        await client.get_version()
        return True
    return False


async def _stop(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()
