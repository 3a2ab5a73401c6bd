"""The API on PostgreSQL: what that refuses is refused as bad input, and a server that is away is a 503 that passes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from monero_escrow.config import Settings
from monero_escrow.core.life_cycle import State
from monero_escrow.demo.private_postgres import IMMEDIATE
from monero_escrow.monero.waiting import until
from monero_escrow.store.opening import open_postgresql
from monero_escrow.store.transaction import Transaction
from shared_postgres import SharedPostgres
from web.conftest import KEY
from web.world import NETWORK, Coin, World, ascii_json, order_body, problem_of

BAD_TEXTS = {"with a NUL": "a\0b", "a lone surrogate": "\ud800", "endless": "x" * 100_000, "empty": ""}
BAD_IDS = {"with a NUL": "%00", "with a NUL inside": "abc%00def", "no Unicode": "%ff%fe", "endless": "x" * 5_000}


@pytest_asyncio.fixture
async def shared(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    """The application on a new database of a server."""
    store = open_postgresql(database_url, KEY, NETWORK)
    world = World(Settings(_env_file=None, monero_network=NETWORK, data_dir=tmp_path, request_wait_seconds=0.05), store)
    try:
        await world.make_keys()
        yield world
    finally:
        await world.pool.aclose()
        store.close()


def is_bad_input(status: int) -> bool:
    return 400 <= status < 500


async def test_every_text_of_a_caller_that_the_server_would_not_take_is_bad_input(shared: World) -> None:
    funded = await shared.add_escrow(State.FUNDED, (Coin(),))
    disputed = await shared.add_escrow(State.DISPUTED, (Coin(),))
    before = await shared.store.read(lambda tx: tx.escrows.counts())
    for name, text in BAD_TEXTS.items():
        reason: dict[str, Any] = ascii_json({"reason": text})
        batch: dict[str, Any] = ascii_json({"orders": [{**order_body(), "order_id": text}]})
        async with shared.client() as shop, shared.client("arbiter") as arbiter, shared.client("operator") as operator:
            answers = {
                "dispute": await shop.post(f"/api/escrows/{funded}/dispute", **reason),
                "dismiss": await arbiter.post(f"/api/escrows/{disputed}/dismiss", **reason),
                "write off": await operator.post(f"/api/escrows/{funded}/payouts/1/write-off", **reason),
            }
            batched = await shop.post("/api/escrows/batch", **batch)
        for what, answer in answers.items():
            assert is_bad_input(answer.status_code), f"{what} {name}: {answer.status_code} {answer.text}"
            assert answer.status_code != 404 or what == "write off", f"{what} is no endpoint"
        assert batched.status_code == 200
        assert [is_bad_input(one["status"]) for one in batched.json()["answers"]] == [True], f"{name}: {batched.text}"
    assert await shared.store.read(lambda tx: tx.escrows.counts()) == before


@pytest.mark.parametrize("name", BAD_IDS)
async def test_every_id_in_a_path_that_the_server_would_not_take_is_bad_input(shared: World, name: str) -> None:
    bad = BAD_IDS[name]
    async with shared.client() as shop, shared.client("operator") as operator:
        answers = [
            await shop.get(f"/api/escrows/{bad}"),
            await shop.post(f"/api/escrows/{bad}/release"),
            await shop.post(f"/api/orders/{bad}/init-escrow", json=order_body()),
            await shop.get(f"/api/escrows?after={bad}"),
            await operator.get(f"/api/escrows?shop={bad}&state={bad}"),
            await operator.post(f"/admin/nodes/{bad}/drain"),
            await operator.post(f"/api/escrows/{bad}/rescan", json={}),
        ]
    for answer in answers:
        assert answer.status_code == 200 or is_bad_input(answer.status_code), f"{answer.url}: {answer.text}"


async def test_while_the_server_is_away_the_answer_is_503_and_afterwards_everything_goes_on(
    shared: World, postgres: SharedPostgres
) -> None:
    async with shared.client() as shop:
        made = await shop.post("/api/orders/order-1/init-escrow", json=order_body())
        await postgres.server.stop(IMMEDIATE)
        try:
            for answer in (
                await shop.post("/api/orders/order-2/init-escrow", json=order_body()),
                await shop.post("/api/orders/order-1/init-escrow", json=order_body()),
                await shop.get("/api/escrows"),
            ):
                problem_of(answer, 503, "database_unavailable")
                assert int(answer.headers["retry-after"]) > 0
                assert "postgresql" not in answer.text.lower()
        finally:
            await postgres.server.start()
        again = await shop.post("/api/orders/order-1/init-escrow", json=order_body())
        other = await shop.post("/api/orders/order-2/init-escrow", json=order_body())
        listed = await shop.get("/api/escrows")

    assert again.json()["escrow_id"] == made.json()["escrow_id"]
    assert other.json()["escrow_id"] != made.json()["escrow_id"]
    assert len(listed.json()["escrows"]) == 2


async def test_the_same_decision_twice_at_once_under_one_key_has_one_answer(shared: World) -> None:
    """Both wait for the escrow, which somebody else changes; the second finds what the first was told."""
    funded = await shared.add_escrow(State.FUNDED, (Coin(),))
    held, may_end = threading.Event(), threading.Event()

    def hold(tx: Transaction) -> None:
        tx.escrows.get(funded)
        held.set()
        assert may_end.wait(10)

    holding = asyncio.create_task(shared.store.write(hold))
    await asyncio.to_thread(held.wait, 10)
    async with shared.client() as shop:
        path, key = f"/api/escrows/{funded}/dispute", {"Idempotency-Key": "k"}
        asked = [asyncio.create_task(shop.post(path, json={"reason": "Broken."}, headers=key)) for _ in range(2)]

        async def both_wait() -> bool:
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return bool(await shared.store.read(lambda tx: tx.connection.exec_driver_sql(waiting).scalar_one() == 2))

        await until(both_wait, limit_seconds=10)
        may_end.set()
        answers = await asyncio.gather(*asked)
    await holding

    assert [answer.status_code for answer in answers] == [200, 200], [answer.text for answer in answers]
    assert answers[0].json() == answers[1].json()
    assert sorted(answer.headers.get("Idempotent-Replayed", "") for answer in answers) == ["", "true"]
