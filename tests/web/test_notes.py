"""What requests leave to be written down: the last use of keys, and wrong keys: a flood is a row a minute."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from monero_escrow.store import schema
from monero_escrow.store.store import DatabaseBusyError
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.door import Door, door_of
from monero_escrow.web.notes import BETWEEN_ROWS_SECONDS, KEYS_REFUSED, MOST_NAMED
from web.world import World, settings_are


def rows(tx: Transaction) -> list[tuple[str | None, dict[str, object]]]:
    audit = schema.audit
    query = select(audit.c.source, audit.c.detail).where(audit.c.action == KEYS_REFUSED).order_by(audit.c.id)
    return [(row.source, row.detail) for row in tx.connection.execute(query)]


def door(world: World) -> Door:
    world.clock.stands_at = 1000.0 if world.clock.stands_at is None else world.clock.stands_at
    return door_of(world.app)


async def test_a_flood_of_wrong_keys_is_one_row_and_then_one_a_minute_with_their_number(world: World) -> None:
    notes = door(world).notes
    async with world.client(None, key="me_shop_wrong") as guesser:
        await guesser.get("/api/escrows")
    await notes.write()
    for number in range(5000):
        notes.refused(f"192.0.2.{number % 3}")
        if number % 1000 == 0:
            await notes.write()
    assert await world.store.read(rows) == [("127.0.0.1", {"count": 1, "addresses": 1})]
    world.clock.stands_at = 1000.0 + BETWEEN_ROWS_SECONDS
    await notes.write()
    assert (await world.store.read(rows))[1:] == [
        (None, {"count": 5000, "addresses": 3, "most_from": {"192.0.2.0": 1667, "192.0.2.1": 1667, "192.0.2.2": 1666}})
    ]
    await notes.write()
    assert len(await world.store.read(rows)) == 2


async def test_a_flood_from_everywhere_names_a_few_and_is_kept_in_little_memory(world: World) -> None:
    notes = door(world).notes
    for number in range(100_000):
        notes.refused(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    await notes.write()
    [(_, detail)] = await world.store.read(rows)
    named = detail["most_from"]
    assert detail["count"] == 100_000
    assert isinstance(named, dict)
    assert len(named) == MOST_NAMED


async def test_what_the_database_does_not_take_is_written_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def busy(_: object) -> None:
        raise DatabaseBusyError("The database did not take the transaction: locked.")

    notes = door(world).notes
    notes.refused("192.0.2.1")
    with monkeypatch.context() as away:
        away.setattr(world.store, "write", busy)
        await notes.write()
    world.clock.stands_at = 1000.0 + BETWEEN_ROWS_SECONDS
    notes.refused("192.0.2.1")
    await notes.write()
    assert await world.store.read(rows) == [("192.0.2.1", {"count": 2, "addresses": 1})]


async def test_the_last_use_of_a_key_is_known_to_the_minute(world: World) -> None:
    notes = door(world).notes
    async with world.client("shop") as client:
        await client.get("/api/escrows")
    await notes.write()
    first = {key.shop_id: key.last_used_at for key in await world.store.read(lambda tx: tx.keys.all())}
    assert first["acme"] is not None
    assert first["other"] is None
    world.clock.ahead_seconds += 30
    async with world.client("shop") as client:
        await client.get("/api/escrows")
    await notes.write()
    assert (await world.store.read(lambda tx: tx.keys.all()))[0].last_used_at == first["acme"]
    world.clock.stands_at = 1000.0 + BETWEEN_ROWS_SECONDS
    await notes.write()
    used = {key.shop_id: key.last_used_at for key in await world.store.read(lambda tx: tx.keys.all())}
    assert (used["acme"] or 0) > (first["acme"] or 0) + 29


@settings_are(rate_limit_requests=0)
async def test_no_wrong_key_is_in_the_trail(world: World) -> None:
    notes = door(world).notes
    async with world.client(None, key="me_shop_my-other-password") as guesser:
        await guesser.get("/api/escrows")
    await notes.write()
    everything = await world.store.read(lambda tx: tx.connection.execute(select(schema.audit)).all())
    assert everything
    assert "my-other-password" not in str(everything)
