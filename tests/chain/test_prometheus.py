"""A real Prometheus reads the real service, by the example in deploy/, and its rules find nothing to say."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import httpx2
import pytest

from chain.test_service_process import command
from monero_escrow.core.address import Network
from monero_escrow.core.roles import ROLES
from monero_escrow.monero.processes import free_port, start_wallet_rpc
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.waiting import until
from prometheus import RULES, programs_folder, promtool

pytestmark = [pytest.mark.chain, pytest.mark.newest_monero, pytest.mark.asyncio(loop_scope="session")]

TOKEN = "a-token-for-prometheus-alone"
_TARGET = '["127.0.0.1:8080"]'


def example_for(folder: Path, port: int) -> Path:
    """deploy/prometheus, with its token, but for where the service listens and how often it is read."""
    shutil.copy(RULES, folder)
    (folder / "metrics.token").write_text(TOKEN + "\n")
    example = RULES.with_name("prometheus.yml").read_text()
    assert _TARGET in example
    config = folder / "prometheus.yml"
    config.write_text(example.replace(_TARGET, f'["127.0.0.1:{port}"]').replace("15s", "1s"))
    promtool("check", "config", config)
    return config


async def test_prometheus_reads_the_service_and_finds_what_it_did(programs: MoneroPrograms, tmp_path: Path) -> None:
    processes = [
        await start_wallet_rpc(programs, tmp_path / role, network=Network.TESTNET, daemon_url=None, name=role)
        for role in ROLES
    ]
    port, prometheus_port = free_port(), free_port()
    settings = {
        "MONERO_RPC_URLS": ",".join(process.url for process in processes),
        "MONERO_NETWORK": "testnet",
        "DB_ENCRYPTION_KEY": "22" * 32,
        "SERVER_PORT": str(port),
        "STOCK_TARGET": "1",
        "METRICS_TOKEN": TOKEN,
    }
    config = example_for(tmp_path, port)
    async with command(tmp_path, "serve", settings=settings):
        prometheus = await asyncio.create_subprocess_exec(
            programs_folder() / "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'series'}",
            f"--web.listen-address=127.0.0.1:{prometheus_port}",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{prometheus_port}/api/v1") as api:

                async def value(query: str) -> float | None:
                    """What the query gives, as one number; None while there is nothing yet or it is still starting."""
                    try:
                        answer = await api.get("/query", params={"query": query})
                    except httpx2.TransportError:
                        return None
                    if answer.status_code == httpx2.codes.SERVICE_UNAVAILABLE:
                        return None
                    result: list[dict[str, Any]] = answer.json()["data"]["result"]
                    return float(result[0]["value"][1]) if result else None

                async def is_in_stock() -> bool:
                    return await value("sum(monero_escrow_stock_trios)") == 1

                await until(is_in_stock, limit_seconds=90)
                assert await value('up{job="monero-escrow"}') == 1
                assert await value('monero_escrow_set_ups_total{purpose="stock", result="ok"}') == 1
                assert await value("monero_escrow_wallets_created_total") == 3
                assert await value('monero_escrow_rpc_seconds_count{method="prepare_multisig"}') == 3
                assert await value("sum(monero_escrow_slots) == sum(monero_escrow_slots_configured)") == 3
                async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as reader:
                    told = await reader.get(f"http://127.0.0.1:{port}/metrics")
                promtool("check", "metrics", given=told.content)
                alerts = (await api.get("/alerts")).json()["data"]["alerts"]
                firing = {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}
                assert firing == set()
                targets = (await api.get("/targets")).json()["data"]["activeTargets"]
                assert [target["lastError"] for target in targets] == [""]
        finally:
            prometheus.terminate()
            await prometheus.wait()
    await asyncio.gather(*(process.stop() for process in processes))
