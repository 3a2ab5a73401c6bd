"""A claim: one order a trio, the address at once, the right birthday, and nothing shown before it is kept elsewhere."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from monero_escrow.config import load_settings
from monero_escrow.core.address import Network
from monero_escrow.core.keys import WalletKeys
from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout import Terms
from monero_escrow.escrows.context import Context
from monero_escrow.escrows.init_escrow import Order, init_escrow, init_escrows
from monero_escrow.escrows.set_up import set_up
from monero_escrow.store.records import EscrowRecord
from monero_escrow.store.schema import escrows, trios
from monero_escrow.store.second_place import SecondFolder, second_place
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from monero_escrow.store.trio_table import TrioTable
from unit.engines import on_both_engines
from unit.restoring import add_trio
from unit.rows import MASTER_KEY, XMR, address
from unit.test_backup_second_place import bring, names, take_away

pytestmark = on_both_engines


def order(name: str = "order-1") -> Order:
    return Order(name, Terms(XMR, address("buyer"), address("vendor")))


async def put_in_stock(store: SqlStore, *names: str) -> None:
    """Finished trios, in this order."""

    def add(tx: Transaction) -> None:
        for number, name in enumerate(names):
            add_trio(tx, name, None, finished=True)
            tx.connection.execute(update(trios).where(trios.c.id == name).values(finished_at=100.0 + number))

    await store.write(add)


async def asked(ctx: Context, name: str = "order-1") -> EscrowRecord:
    """The escrow of an order that was just placed."""
    escrow_id = (await init_escrow(ctx, "shop", order(name), "shop:test"))[0].id
    return await ctx.store.read(lambda tx: tx.escrows.get(escrow_id))


async def restore_height(store: SqlStore, trio_id: str) -> int:
    return (await store.read(lambda tx: tx.trios.get(trio_id))).restore_height


# The claim


async def test_an_order_has_the_address_of_the_oldest_trio_at_once(ctx: Context, store: SqlStore) -> None:
    await put_in_stock(store, "old", "new")

    escrow = await asked(ctx)

    assert (escrow.state, escrow.deposit_address, escrow.trio_id) == (State.AWAITING_DEPOSIT, address("old"), "old")
    assert escrow.deposit_deadline == ctx.clock.now() + escrow.deposit_window_seconds
    history = await store.read(lambda tx: tx.audit.of(escrow.id))
    assert [row.action for row in history] == ["init_escrow", "stock_claimed", "address_ready"]
    events = await store.read(lambda tx: tx.outbox.after("shop", 0, 10))
    assert [event.type for event in events] == ["escrow.created", "escrow.address_ready"]
    assert await store.read(lambda tx: len(tx.trios.stock_ages(ctx.clock.now()))) == 1


async def test_an_order_that_finds_no_stock_is_set_up(ctx: Context) -> None:
    told: list[str] = []

    escrow = await asked(replace(ctx, nudge=told.append))

    assert (escrow.state, told) == (State.SETTING_UP, [escrow.id])


async def test_the_same_order_again_takes_no_second_trio(ctx: Context, store: SqlStore) -> None:
    await put_in_stock(store, "one", "two")

    assert (await asked(ctx)).trio_id == (await asked(ctx)).trio_id == "one"
    assert (await asked(ctx, "order-2")).trio_id == "two"


async def test_however_many_orders_come_at_once_a_trio_goes_to_one(ctx: Context, store: SqlStore) -> None:
    await put_in_stock(store, *(f"trio {number}" for number in range(5)))

    begun = await asyncio.gather(*(asked(ctx, f"order-{number}") for number in range(20)))

    taken = [escrow.trio_id for escrow in begun if escrow.trio_id is not None]
    assert len(taken) == len(set(taken)) == 5
    assert Counter(escrow.state for escrow in begun)[State.SETTING_UP] == 15


async def test_only_a_finished_trio_of_nobody_is_handed_out(ctx: Context, store: SqlStore) -> None:
    def add(tx: Transaction) -> None:
        add_trio(tx, "making", None, finished=False)
        add_trio(tx, "abandoned", None, finished=False)
        tx.trios.abandon("abandoned", "why not", 103.0)
        add_trio(tx, "quarantined", None, finished=True)
        tx.trios.quarantine("quarantined", "from a copy")
        add_trio(tx, "somebody's", "another escrow", finished=True)

    await store.write(add)

    assert (await asked(ctx)).state is State.SETTING_UP


async def test_stock_of_a_restored_copy_is_handed_out_to_nobody(ctx: Context, store: SqlStore) -> None:
    await put_in_stock(store, "trio")
    await store.write(lambda tx: tx.trios.quarantine_unclaimed("from a restored backup"))

    assert (await asked(ctx)).state is State.SETTING_UP


async def test_the_schema_itself_refuses_to_show_an_address_twice(
    ctx: Context, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(self: TrioTable, escrow_id: str, _restore_height: int, _now: float) -> bool:
        return self._connection.execute(update(trios).values(escrow_id=escrow_id)).rowcount == 1

    await put_in_stock(store, "trio")
    monkeypatch.setattr(TrioTable, "claim", careless)
    await asked(ctx)

    with pytest.raises(IntegrityError, match=r"escrows.deposit_address"):
        await asked(ctx, "order-2")
    assert await store.read(lambda tx: tx.escrows.of_order("shop", "order-2")) is None


async def test_orders_that_come_together_get_a_trio_each_and_a_bad_one_spoils_no_other(
    ctx: Context, store: SqlStore
) -> None:
    await put_in_stock(store, "one", "two")
    bad = replace(order("order-2"), terms=Terms(1, address("buyer"), address("vendor")))
    other_terms = replace(order("order-1"), terms=Terms(2 * XMR, address("buyer"), address("vendor")))

    answers = await init_escrows(
        ctx, "shop", [order("order-1"), bad, order("order-3"), other_terms, order("order-1")], "shop:test"
    )

    found = [answer if isinstance(answer, Exception) else (answer[0].trio_id, answer[1]) for answer in answers]
    assert [str(getattr(answer, "code", answer)) for answer in found] == [
        "('one', True)", "invalid_amount", "('two', True)", "order_exists", "('one', False)",
    ]  # fmt: skip


# The birthday


@pytest.mark.parametrize(
    ("chain_height", "made_at", "expected"),
    [(5_000, 100, 4_970), (110, 100, 100), (0, 100, 100)],
    ids=["the claim's height less 30", "never lower than it was", "no word of the daemon yet"],
)
async def test_the_wallets_are_as_old_as_the_claim(
    ctx: Context, store: SqlStore, chain_height: int, made_at: int, expected: int
) -> None:
    await put_in_stock(store, "trio")
    await store.write(lambda tx: tx.connection.execute(update(trios).values(restore_height=made_at)))
    ctx.tip.height = chain_height

    await asked(ctx)

    assert await restore_height(store, "trio") == expected


async def test_the_last_height_seen_is_remembered(ctx: Context) -> None:
    await ctx.chain()

    assert ctx.tip.height == (await ctx.chain())[1].height > 0


# The second place


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "second"
    made.mkdir()
    return made


@pytest.fixture
def careful(ctx: Context, tmp_path: Path, folder: Path) -> Context:
    """A service with a second place."""
    settings = load_settings(
        monero_network="stagenet",
        data_dir=tmp_path,
        db_encryption_key=MASTER_KEY.hex(),
        backup_url=f"file://{folder}",
    )
    return replace(ctx, settings=settings)


async def test_order_and_keys_lie_in_the_second_place_before_the_address_is_shown(
    careful: Context, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put_in_stock(store, "trio")
    careful.tip.height = 5_000
    keep, seen = SecondFolder.keep, []

    def watched(self: SecondFolder, kept: object) -> None:
        rows = select(escrows.c.state, escrows.c.deposit_address).join(trios, trios.c.escrow_id == escrows.c.id)
        seen.append(tuple(store.read_now(lambda tx: tx.connection.execute(rows).one())))
        keep(self, kept)  # type: ignore[arg-type]

    monkeypatch.setattr(SecondFolder, "keep", watched)
    escrow = await asked(careful)

    assert seen == [("setting_up", None)]
    assert (escrow.state, escrow.deposit_address) == (State.AWAITING_DEPOSIT, address("trio"))
    place = second_place(careful.settings)
    assert place is not None
    (kept,) = place.all()
    assert (kept.escrow_id, kept.order_id) == (escrow.id, "order-1")
    assert kept.trio == await store.read(lambda tx: tx.trios.get("trio"))
    assert kept.trio.restore_height == 4_970


async def test_a_claim_that_the_second_place_does_not_take_is_finished_later_with_the_same_trio(
    careful: Context, store: SqlStore, folder: Path
) -> None:
    await put_in_stock(store, "first", "second")
    take_away(folder)
    escrow = await asked(careful)
    assert (escrow.state, escrow.deposit_address) == (State.SETTING_UP, None)
    assert escrow.due_at is not None, "the conductor goes on with it"

    bring(folder)
    other = await asked(careful, "order-2")
    await set_up(careful, escrow.id)

    assert other.deposit_address == address("second")
    finished = await store.read(lambda tx: tx.escrows.get(escrow.id))
    assert (finished.state, finished.deposit_address) == (State.AWAITING_DEPOSIT, address("first"))


async def test_on_mainnet_no_address_leaves_the_stock_without_a_second_place(ctx: Context, store: SqlStore) -> None:
    await put_in_stock(store, "trio")
    settings = load_settings(monero_network="mainnet", data_dir=ctx.settings.data_dir)
    buyer, vendor = (WalletKeys.from_entropy(bytes([n]) * 32, Network.MAINNET).address for n in (1, 2))

    escrow, _ = await init_escrow(
        replace(ctx, settings=settings), "shop", Order("order-1", Terms(XMR, buyer, vendor)), "shop:test"
    )

    kept = await store.read(lambda tx: tx.escrows.get(escrow.id))
    assert (kept.state, kept.deposit_address) == (State.SETTING_UP, None)


async def test_an_order_cancelled_between_claim_and_address_is_told_of_none(
    careful: Context, store: SqlStore, folder: Path
) -> None:
    await put_in_stock(store, "trio")
    take_away(folder)
    escrow = await asked(careful)
    await store.write(
        lambda tx: tx.escrows.change(escrow.id, expected=State.SETTING_UP, now=1.0, state=State.CANCELLED)
    )
    bring(folder)

    await set_up(careful, escrow.id)

    assert (await store.read(lambda tx: tx.escrows.get(escrow.id))).deposit_address is None
    assert names(folder) == []
    assert (await asked(careful, "order-2")).state is State.SETTING_UP, "and nobody else gets its trio"
