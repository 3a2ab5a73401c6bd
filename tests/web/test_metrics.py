"""GET /metrics: who may read it, that it tells all there is, what promtool says, and a database that is silent."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from monero_escrow.config import Settings, SettingsError
from monero_escrow.core.deposits import OutputStatus
from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import ROLES, TRIO, Role
from monero_escrow.escrows.tally import TallyReader
from monero_escrow.store.scan_table import ScannedBlock
from monero_escrow.store.store import DatabaseBusyError
from monero_escrow.telemetry.catalogue import ALL, PREFIX, Of
from monero_escrow.web.gauges import Scrape
from prometheus import promtool
from web.world import NETWORK, XMR, Coin, World, mark_sick, problem_of

TOKEN = "a-token-for-prometheus-alone"


@pytest.fixture
def watched(world: World) -> World:
    """The same world with METRICS_TOKEN."""
    settings = Settings(_env_file=None, monero_network=NETWORK, data_dir=world.settings.data_dir, metrics_token=TOKEN)
    return World(settings, world.store, keys=world.keys)


async def scraped(world: World, key: str = TOKEN) -> str:
    async with world.client(key=key) as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return answer.text


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


async def told(world: World, name: str, **labels: str) -> float | None:
    return samples(await scraped(world)).get((PREFIX + name, frozenset(labels.items())))


async def test_the_token_or_an_operators_key_reads_it_and_nothing_else_does(watched: World) -> None:
    await scraped(watched)
    await scraped(watched, watched.keys["operator"])
    for key, status, code in (
        (None, 401, "unauthenticated"),
        (TOKEN[:-1], 401, "unauthenticated"),
        ("", 401, "unauthenticated"),
        (watched.keys["shop"], 403, "wrong_scope"),
        (watched.keys["arbiter"], 403, "wrong_scope"),
    ):
        async with watched.client(None, key=key) as client:
            problem_of(await client.get("/metrics"), status, code)
    assert await told(watched, "key_denials_total", scope="none") == 3
    assert await told(watched, "key_denials_total", scope="shop") == 1


async def test_without_a_token_only_an_operators_key_reads_it(world: World) -> None:
    await scraped(world, world.keys["operator"])
    async with world.client(key=TOKEN) as client:
        problem_of(await client.get("/metrics"), 401, "unauthenticated")


async def test_the_token_opens_nothing_else(watched: World) -> None:
    async with watched.client(key=TOKEN) as client:
        problem_of(await client.get("/admin/health"), 401, "unauthenticated")


async def test_the_token_may_lie_in_a_file(world: World, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    settings = Settings(_env_file=None, monero_network=NETWORK, metrics_token_file=tmp_path / "token")
    await scraped(World(settings, world.store, keys=world.keys))
    assert TOKEN not in repr(settings)


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 20, b"a token\x00of some length", None])
async def test_a_file_without_a_token_is_refused_at_the_start(
    world: World, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    settings = Settings(_env_file=None, monero_network=NETWORK, metrics_token_file=tmp_path / "token")
    with pytest.raises(SettingsError, match="METRICS_TOKEN_FILE"):
        World(settings, world.store, keys=world.keys)


async def test_a_token_and_a_file_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not both"):
        Settings(_env_file=None, metrics_token=TOKEN, metrics_token_file=tmp_path / "token")


async def test_a_short_token_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        Settings(_env_file=None, metrics_token="short")


async def test_every_metric_of_the_catalogue_is_told_with_its_help_and_promtool_has_no_objection(
    watched: World,
) -> None:
    await watched.add_escrow(State.FUNDED, [Coin(XMR, OutputStatus.COUNTED)])
    text = await scraped(watched)
    for row in ALL:
        assert text.count(f"# HELP {row.full_name} {row.help}\n") == 1, row.full_name
        assert f"# TYPE {row.full_name} {row.kind}\n" in text
    assert not re.search(r"_created[ {]", text)
    promtool("check", "metrics", given=text.encode())


async def test_slots_are_told_by_role_and_state_and_every_one_of_them_once(watched: World) -> None:
    mark_sick(watched, Role.ARBITER, "Nobody listens there.")
    async with watched.pool.lease(frozenset({Role.BUYER}), "a look", wait_seconds=1) as lease:
        assert await told(watched, "slots", role="buyer", state="busy") == 1
        assert await told(watched, "slots_utilisation_ratio", role="buyer") == 1
        lease.slot(Role.BUYER).rpc.abandoned = True  # type: ignore[misc]
    values = samples(await scraped(watched))
    slots = {labels: count for (name, labels), count in values.items() if name == f"{PREFIX}slots" and count}
    assert slots == {
        frozenset({("role", "buyer"), ("state", "quarantined")}): 1,
        frozenset({("role", "vendor"), ("state", "free")}): 1,
        frozenset({("role", "arbiter"), ("state", "sick")}): 1,
    }
    assert [await told(watched, "slots_configured", role=role) for role in ROLES] == [1, 1, 1]


async def test_escrows_are_counted_by_state_and_the_longest_waiting_is_timed(watched: World) -> None:
    now = watched.clock.now()
    await watched.add_escrow(State.SETTING_UP, created_at=now - 500)
    await watched.add_escrow(State.FUNDED)
    await watched.add_escrow(State.FUNDED)
    assert await told(watched, "escrows", state="funded") == 2
    assert await told(watched, "escrows", state="settled") == 0
    waited = await told(watched, "escrows_oldest_seconds", state="setting_up")
    assert waited is not None
    assert 500 <= waited < 560


async def test_ten_scrapers_cost_the_database_one_reading(watched: World, monkeypatch: pytest.MonkeyPatch) -> None:
    readings, read = 0, watched.store.read

    async def counted(work: Callable[[Any], Any]) -> Any:
        nonlocal readings
        readings += 1
        return await read(work)

    monkeypatch.setattr(watched.store, "read", counted)
    await asyncio.gather(*(scraped(watched) for _ in range(10)))
    assert readings == 1
    watched.clock.ahead_seconds += 60
    await scraped(watched)
    assert readings == 2


async def test_a_silent_database_delays_nobody_for_long_and_the_rest_is_told(
    watched: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = asyncio.Event()

    async def hangs(_: object) -> None:
        await answers.wait()
        raise DatabaseBusyError("It was away.")

    watched.app.state.tallies = TallyReader(watched.ctx, patience_seconds=0.05)
    monkeypatch.setattr(watched.store, "read", hangs)
    began = time.monotonic()
    texts: Sequence[str] = await asyncio.gather(*(scraped(watched) for _ in range(3)))
    assert time.monotonic() - began < 5
    for text in texts:
        values = samples(text)
        assert values[f"{PREFIX}database_read_success", frozenset()] == 0
        assert values[f"{PREFIX}slots", frozenset({("role", "buyer"), ("state", "free")})] == 1
        assert not [row.name for row in ALL if row.of is Of.DATABASE and f"# HELP {row.full_name} " in text]
    monkeypatch.undo()
    answers.set()
    assert await told(watched, "database_read_success") == 0  # the reading that hung is over now, and failed
    assert await told(watched, "database_read_success") == 1


async def test_a_service_without_a_daemon_tells_nothing_about_one(watched: World) -> None:
    ctx = replace(watched.ctx, daemon=None)
    names = [family.name for family in Scrape(ctx, await TallyReader(ctx).read()).collect()]
    assert "monero_escrow_daemon_last_answer_timestamp_seconds" not in names
    assert "monero_escrow_scan_lag_blocks" not in names


async def test_blocks_that_were_not_scanned_are_counted(watched: World) -> None:
    await watched.store.write(lambda tx: tx.scan.add([ScannedBlock(989, "ab" * 32)]))
    assert await told(watched, "scan_lag_blocks") == 0  # the daemon was not asked yet
    await watched.ctx.chain()
    assert await told(watched, "scan_lag_blocks") == 10
    assert await told(watched, "chain_height_blocks") == 1000


@pytest.mark.parametrize("error", [DatabaseBusyError("The disk is full."), RuntimeError("a fault of ours")])
async def test_a_database_that_refuses_is_told_as_such(
    watched: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def refuses(_: object) -> None:
        raise error

    monkeypatch.setattr(watched.store, "read", refuses)
    assert await told(watched, "database_read_success") == 0


async def test_how_long_work_waited_for_its_slots_is_told(watched: World) -> None:
    async with watched.ctx.lease(TRIO, "a set-up", wait_seconds=1):
        pass
    assert await told(watched, "lease_wait_seconds_count") == 1
