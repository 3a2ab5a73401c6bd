"""A standby takes over: who worked with the server before writes nothing into it, and the next start asks the chain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import psycopg
import pytest

from monero_escrow.demo.private_postgres import IMMEDIATE, PrivatePostgres
from monero_escrow.escrows.replaced_server import treat_as_restored_if_replaced
from monero_escrow.store import facts
from monero_escrow.store.opening import PostgresqlStore, open_postgresql
from monero_escrow.store.postgresql import DatabaseUnsuitableError
from monero_escrow.store.store import DatabaseBusyError
from monero_escrow.store.transaction import Transaction
from shared_postgres import a_server_of_its_own, memory_folder
from unit.restoring import add_trio
from unit.rows import MASTER_KEY, NETWORK, add_funded, escrow


@asynccontextmanager
async def primary_and_standby(*, synchronous: bool) -> AsyncIterator[tuple[PrivatePostgres, PrivatePostgres, str]]:
    """Two servers, the second following the first, and one URL that finds whichever takes writes."""
    async with a_server_of_its_own() as primary:
        url = urlsplit(await primary.new_database("escrow"))
        with memory_folder() as folder:
            async with await primary.standby(folder, synchronous=synchronous) as standby:
                either = f"host=127.0.0.1,127.0.0.1&port={primary.port},{standby.port}&target_session_attrs=read-write"
                yield primary, standby, f"postgresql://{url.username}:{url.password}@/escrow?{either}"


async def opened(url: str) -> PostgresqlStore:
    store = await asyncio.to_thread(open_postgresql, url, MASTER_KEY, NETWORK)
    assert isinstance(store, PostgresqlStore)
    await treat_as_restored_if_replaced(store, store.history.known, 100.0)
    return store


def stocked(tx: Transaction) -> None:
    add_trio(tx, "made", None, finished=True)
    add_trio(tx, "begun", None, finished=False)


async def test_a_failover_that_may_have_lost_the_last_second_is_treated_as_a_restored_backup() -> None:
    async with primary_and_standby(synchronous=False) as (primary, standby, url):
        before = await opened(url)
        await before.write(stocked)
        await before.write(add_funded)
        await before.write(lambda tx: tx.outbox.add("shop", "escrow", "escrow.created", {}, 100.0))
        await standby.stop_following()
        await before.write(lambda tx: tx.escrows.add(escrow("lost")))
        await primary.stop(IMMEDIATE)
        await standby.promote()

        for _ in range(2):
            with pytest.raises(DatabaseBusyError, match=r"replaced|closed|terminat"):
                await before.write(lambda tx: tx.audit.add("shop", "into the later history", 101.0))
        with pytest.raises(DatabaseBusyError, match="replaced"):
            await before.read(lambda tx: tx.escrows.counts())
        assert before.history.replaced
        before.close()

        after = await opened(url)
        assert not after.history.replaced
        assert await after.read(lambda tx: facts.waits_for_check(tx.connection)), "nothing is signed before"
        assert await after.read(lambda tx: tx.trios.stock_ages(200.0)) == []
        states = await after.read(lambda tx: [str(tx.trios.get(name).state) for name in ("made", "begun")])
        assert states == ["quarantined", "quarantined"]
        events = await after.read(lambda tx: tx.outbox.after("shop", 0, 10))
        assert [event.type for event in events] == ["escrow.created", "service.restored"]
        assert events[1].id > events[0].id + 1_000, "ids that the lost second may have given out are not given again"
        assert [row.action for row in await after.read(lambda tx: tx.audit.of("escrow"))] == []

        await after.write(lambda tx: add_trio(tx, "later", None, finished=True))
        again = await opened(url)  # the second node of several: the first has done it for all
        assert len(await again.read(lambda tx: tx.trios.stock_ages(200.0))) == 1
        again.close()
        after.close()


async def test_a_synchronous_failover_loses_nothing_that_was_acknowledged() -> None:
    async with primary_and_standby(synchronous=True) as (primary, standby, url):
        before = await opened(url)
        for number in range(20):
            await before.write(lambda tx, n=number: tx.escrows.add(escrow(f"escrow {n}")))  # type: ignore[misc]
        await primary.stop(IMMEDIATE)
        await standby.promote()
        before.close()

        after = await opened(url)
        assert sum((await after.read(lambda tx: tx.escrows.counts())).values()) == 20
        after.close()


async def test_a_standby_is_refused_at_start_and_a_url_that_names_both_finds_the_primary() -> None:
    async with primary_and_standby(synchronous=False) as (_, standby, url):
        (await opened(url)).close()
        parts = urlsplit(url)
        alone = f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{standby.port}/escrow"

        with pytest.raises(DatabaseUnsuitableError, match="standby") as caught:
            open_postgresql(alone, MASTER_KEY, NETWORK)
        assert "target_session_attrs" in caught.value.what_to_do


async def test_a_mere_restart_replaces_nothing() -> None:
    async with a_server_of_its_own() as server:
        url = await server.new_database("escrow")
        store = await opened(url)
        await store.write(stocked)
        await server.restart(IMMEDIATE)
        assert len(await store.read(lambda tx: tx.trios.stock_ages(200.0))) == 1
        assert not store.history.replaced
        again = await opened(url)
        assert len(await again.read(lambda tx: tx.trios.stock_ages(200.0))) == 1
        for one in (store, again):
            one.close()


async def test_a_database_that_was_brought_back_in_place_can_be_told_so(database_url: str) -> None:
    """As docs/postgresql.md says: the server's own history shows nothing of a `pg_restore`."""
    store = await opened(database_url)
    await store.write(stocked)
    store.close()
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE facts SET value = 'restored' WHERE name = 'server_history'")

    again = await opened(database_url)
    assert await again.read(lambda tx: facts.waits_for_check(tx.connection))
    assert await again.read(lambda tx: tx.trios.stock_ages(200.0)) == []
    again.close()
