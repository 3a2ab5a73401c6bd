"""`make bench`: cold set-ups side by side: the original's flow, the bare calls at their best, and ours.

Interleaved rounds on the same machine and Monero version; medians, because the RSA keys that wallets make for
themselves vary by seconds. Wall seconds, CPU seconds of the wallet processes and of the service, and ratios. Writes
JSON beside the table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx2

from bench import flows
from monero_escrow.core.address import Network
from monero_escrow.core.keys import WalletKeys
from monero_escrow.monero.errors import ProcessUnreachableError
from monero_escrow.monero.processes import free_port, start_wallet_rpc
from monero_escrow.monero.programs import MoneroPrograms, programs_in
from monero_escrow.monero.versions import LEAST_SUPPORTED
from monero_escrow.monero.waiting import until
from monero_escrow.monero.wallet_rpc import WalletRpcClient

RESULTS = Path(__file__).parent / "results"
_TICKS = os.sysconf("SC_CLK_TCK")
_START_LIMIT_SECONDS = 30.0


@dataclass
class Runs:
    """What one flow took, a value a round."""

    wall_seconds: list[float] = field(default_factory=list)
    wallet_cpu_seconds: list[float] = field(default_factory=list)
    service_cpu_seconds: list[float] = field(default_factory=list)

    def median(self, name: str) -> float:
        values: list[float] = getattr(self, name)
        return statistics.median(values)


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of processes, from the kernel."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return float(total / _TICKS)


class Subject:
    """One flow with its processes."""

    def __init__(self, name: str, run: Callable[[], Awaitable[str]], wallets: list[int], service: list[int]) -> None:
        self.name = name
        self.runs = Runs()
        self._run = run
        self._wallets = wallets
        self._service = service

    async def round(self) -> None:
        """One cold set-up, timed."""
        wallets, service, begun = cpu_seconds(self._wallets), cpu_seconds(self._service), time.perf_counter()
        await self._run()
        self.runs.wall_seconds.append(time.perf_counter() - begun)
        self.runs.wallet_cpu_seconds.append(cpu_seconds(self._wallets) - wallets)
        self.runs.service_cpu_seconds.append(cpu_seconds(self._service) - service)


@dataclass(frozen=True)
class Fleet:
    """Three offline testnet processes and a client of each."""

    pids: list[int]
    urls: list[str]
    clients: list[WalletRpcClient]


async def best_fleet(stack: AsyncExitStack, programs: MoneroPrograms, folder: Path) -> Fleet:
    """Processes with the flags this project starts them with."""
    processes = [
        await start_wallet_rpc(programs, folder, network=Network.TESTNET, daemon_url=None, name=f"wallet-{index}")
        for index in range(3)
    ]
    for process in processes:
        stack.push_async_callback(process.stop)
    return _fleet(stack, [process.pid for process in processes], [process.url for process in processes])


async def original_fleet(stack: AsyncExitStack, programs: MoneroPrograms, folder: Path) -> Fleet:
    """Processes as the original document's start script starts them."""
    (folder / "wallets").mkdir(parents=True)
    pids, urls = [], []
    for _ in range(3):
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            *(str(programs.wallet_rpc), "--rpc-bind-port", str(port), "--disable-rpc-login"),
            *("--wallet-dir", str(folder / "wallets"), "--daemon-address", "http://127.0.0.1:18081"),
            *("--testnet", "--log-level", "2", "--offline"),
            cwd=folder,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        stack.push_async_callback(_stop, process)
        pids.append(process.pid)
        urls.append(f"http://127.0.0.1:{port}")
    fleet = _fleet(stack, pids, urls)
    for client in fleet.clients:
        await until(partial(_wallet_answers, client), limit_seconds=_START_LIMIT_SECONDS)
    return fleet


def _fleet(stack: AsyncExitStack, pids: list[int], urls: list[str]) -> Fleet:
    clients = [WalletRpcClient(url) for url in urls]
    for client in clients:
        stack.push_async_callback(client.aclose)
    return Fleet(pids, urls, clients)


async def _stop(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    await process.wait()


async def _wallet_answers(client: WalletRpcClient) -> bool:
    with suppress(ProcessUnreachableError):
        await client.get_version()
        return True
    return False


@asynccontextmanager
async def service(fleet: Fleet, folder: Path) -> AsyncIterator[tuple[int, httpx2.AsyncClient]]:
    """The real service as a process of its own, and a client with a shop's key."""
    port = free_port()
    environment = {
        **os.environ,
        "MONERO_RPC_URLS": ",".join(fleet.urls),
        "MONERO_NETWORK": "testnet",
        "DB_ENCRYPTION_KEY": secrets.token_hex(32),
        "DATA_DIR": str(folder / "data"),
        "SERVER_PORT": str(port),
        "LOG_LEVEL": "warning",
    }
    command = (sys.executable, "-m", "monero_escrow")
    made = await asyncio.create_subprocess_exec(
        *command,
        *["keys", "create", "--scope", "shop", "--shop", "bench", "--json"],
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    key = json.loads((await made.communicate())[0])["key"]
    process = await asyncio.create_subprocess_exec(*command, "serve", env=environment)
    try:
        base = f"http://127.0.0.1:{port}"
        async with httpx2.AsyncClient(base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=300) as api:
            await until(lambda: _answers(api), limit_seconds=_START_LIMIT_SECONDS)
            yield process.pid, api
    finally:
        await _stop(process)


async def _answers(api: httpx2.AsyncClient) -> bool:
    try:
        return (await api.get("/livez")).status_code == 200
    except httpx2.TransportError:
        return False


async def compare(versions: list[MoneroPrograms], rounds: int) -> dict[str, dict[str, Runs]]:
    """Every flow on every version, in turn, round after round; ours and the bare calls on supported versions only."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="monero-escrow-bench-")))
        subjects: dict[str, list[Subject]] = {}
        for programs in versions:
            name = str(programs.version)
            subjects[name] = await _subjects(stack, programs, folder / name)
        for number in range(rounds):
            for version, flows_of_version in subjects.items():
                for subject in flows_of_version:
                    print(f"  round {number + 1} of {rounds}: {subject.name} on Monero {version} …", file=sys.stderr)
                    await subject.round()
        return {version: {subject.name: subject.runs for subject in some} for version, some in subjects.items()}


async def _subjects(stack: AsyncExitStack, programs: MoneroPrograms, folder: Path) -> list[Subject]:
    slow = await original_fleet(stack, programs, folder / "original")
    subjects = [Subject("original", partial(flows.original, slow.clients), slow.pids, [])]
    if programs.version >= LEAST_SUPPORTED:
        fast = await best_fleet(stack, programs, folder / "bare")
        subjects.append(Subject("bare", partial(flows.bare, fast.clients), fast.pids, []))
        slots = await best_fleet(stack, programs, folder / "ours")
        pid, api = await stack.enter_async_context(service(slots, folder))
        buyer, vendor = (WalletKeys.from_entropy(secrets.token_bytes(32), Network.TESTNET).address for _ in "bv")
        subjects.append(Subject("ours", partial(flows.ours, api, (buyer, vendor)), slots.pids, [pid]))
    return subjects


def show(results: dict[str, dict[str, Runs]]) -> None:
    """The table: medians, and ratios to the original's flow at the same version and at its own."""
    print(f"\nCold set-up, medians; {os.cpu_count()} cores, Python {platform.python_version()}, {platform.machine()}\n")
    print("| Monero | flow | wall s | wallets' CPU s | service's CPU s | wall ÷ original | CPU ÷ original |")
    print("|---|---|---|---|---|---|---|")
    for version, by_flow in results.items():
        base = by_flow["original"]
        for name, runs in by_flow.items():
            wall, wallets, service_cpu = (
                runs.median(part) for part in ("wall_seconds", "wallet_cpu_seconds", "service_cpu_seconds")
            )
            wall_ratio = wall / base.median("wall_seconds")
            cpu_ratio = (wallets + service_cpu) / base.median("wallet_cpu_seconds")
            print(
                f"| {version} | {name} | {wall:.2f} | {wallets:.2f} | {service_cpu:.2f} | "
                f"{wall_ratio:.0%} | {cpu_ratio:.0%} |"
            )
    for version, by_flow in results.items():
        if "ours" in by_flow:
            ours = by_flow["ours"]
            share = ours.median("service_cpu_seconds") / (
                ours.median("service_cpu_seconds") + ours.median("wallet_cpu_seconds")
            )
            print(f"\nMonero {version}: the service itself is {share:.1%} of the CPU of a set-up.")
            for old, others in results.items():
                ratio = ours.median("wall_seconds") / others["original"].median("wall_seconds")
                print(f"Monero {version}: ours takes {ratio:.0%} of the wall time of the original's flow on {old}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "9")))
    parser.add_argument("folders", nargs="+", type=Path, help="folders with Monero's programs, the newest first")
    options = parser.parse_args()
    versions = []
    for folder in options.folders:
        programs = programs_in(folder)
        if programs is None:
            sys.exit(f"There are no programs that start in {folder}: run scripts/get-monero.")
        versions.append(programs)
    results = asyncio.run(compare(versions, options.rounds))
    show(results)
    RESULTS.mkdir(exist_ok=True)
    raw = {version: {name: vars(runs) for name, runs in by_flow.items()} for version, by_flow in results.items()}
    (RESULTS / "set_up.json").write_text(json.dumps(raw, indent=1))


if __name__ == "__main__":
    main()
