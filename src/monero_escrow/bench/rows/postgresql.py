"""Steps and lists on PostgreSQL with a hundred thousand escrows in the table, and how the server finds their rows.

A durable step is a row of the journal in a transaction of its own, acknowledged when it is on the server's disk. The
escrows are written by the server itself, in the states a shop's would be in: most closed, some awaiting a deposit, a
few being set up.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from sqlalchemy import event, text

from monero_escrow.bench.figures import Aim, Figure, Findings, On, Series, Unit, p50_and_p99
from monero_escrow.bench.run import Run
from monero_escrow.core.address import Network
from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import Role
from monero_escrow.demo.private_postgres import PrivatePostgres
from monero_escrow.escrows.journal import Step
from monero_escrow.store.opening import open_postgresql
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction

_SHOP: Final = "shop-7"
_PLANT: Final = text(
    """
    INSERT INTO escrows (id, shop_id, order_id, request_fingerprint, state, amount_piconero, buyer_refund_address,
        vendor_payout_address, fee_bearer, commission_parts, deposit_window_seconds, deposit_address, due_at, wakes,
        in_pool_piconero, failures, fence, created_at, updated_at)
    SELECT md5('e' || n), 'shop-' || n % 50, 'order-' || n, md5('f' || n), CASE WHEN n % 10 < 7 THEN 'settled'
            WHEN n % 1000 = 8 THEN 'setting_up' ELSE 'awaiting_deposit' END, 1000000000000, 'a' || n, 'b' || n,
        'receivers', 0, 86400, CASE WHEN n % 1000 = 8 THEN NULL ELSE 'address ' || n END,
        CASE WHEN n % 10 < 7 THEN NULL WHEN n % 1000 = 8 THEN n ELSE :now + n END, 0, 0, 0, 0, :now - n, :now - n
    FROM generate_series(1, :escrows) AS n
    """
)


async def measure(run: Run) -> Findings:
    """Plant, analyse, and time each."""
    escrows, times = run.pick(1_000, 100_000), run.pick(5, 200)
    async with PrivatePostgres() as server:
        url = await server.new_database("hundredthousand")
        store = open_postgresql(url, os.urandom(32), Network.TESTNET)
        try:
            run.teller.say(f"planting {escrows:,} escrows")
            now = time.time()
            await store.write(lambda tx: tx.connection.execute(_PLANT, {"now": now, "escrows": escrows}) and None)
            await server.administer("VACUUM ANALYZE", url=url)
            await store.write(lambda tx: tx.nodes.join("node", "node", "1", 3_600.0))
            timed: list[tuple[str, float, list[float]]] = []
            for what, aim, work in _what_is_timed(store, now):
                run.teller.say(f"timing: {what}")
                timed.append((what, aim, [await _seconds(work) for _ in range(times)]))
            found_by = await _plans(store, [work for _, _, work in _what_is_timed(store, now)])
        finally:
            store.close()
    figures: list[Figure] = []
    for what, aim, values in timed:
        p50, p99 = p50_and_p99(what, values, Unit.SECONDS, On.REAL)
        figures += [Figure(p50.name, p50.value, p50.unit, p50.on, Aim(aim), p50.note), p99]
    return Findings(
        tuple(figures),
        series=tuple(Series(what, Unit.SECONDS, tuple(values)) for what, _, values in timed),
        notes=(f"{escrows:,} escrows in the table; the server is on loopback. EXPLAIN: {'; '.join(found_by)}.",),
    )


def _what_is_timed(store: SqlStore, now: float) -> list[tuple[str, float, Callable[[], Awaitable[object]]]]:
    """Its name, what its median may be, and the work."""

    def step(tx: Transaction) -> int:
        return tx.journal.intend(
            escrow_id=None, subject_id=secrets.token_hex(12), name=Step.GATE, role=Role.BUYER, slot="slot", now=now
        )

    def page(tx: Transaction) -> object:
        return tx.escrows.page(shop_id=_SHOP, states=frozenset({State.AWAITING_DEPOSIT}), before=None, limit=50)

    def claim(tx: Transaction) -> object:
        return tx.work.claim_due("node", "node", now, 10, home_seconds=5)

    return [
        ("a durable step", 0.010, lambda: store.write(step)),
        ("claim 10 escrows", 0.020, lambda: store.write(claim)),
        ("list 50 of a shop in one state", 0.020, lambda: store.read(page)),
        ("the dashboard's counts", 0.020, lambda: store.read(lambda tx: tx.escrows.counts())),
    ]


async def _seconds(work: Callable[[], Awaitable[object]]) -> float:
    begun = time.perf_counter()
    await work()
    return time.perf_counter() - begun


async def _plans(store: SqlStore, works: Sequence[Callable[[], Awaitable[object]]]) -> list[str]:
    """How the server finds escrows, by EXPLAIN of the very statements that were sent."""
    sent: dict[str, object] = {}

    def keep(_connection: object, _cursor: object, statement: str, parameters: object, *_more: object) -> None:
        if statement.startswith("SELECT") and " escrows" in statement:
            sent[statement] = parameters

    event.listen(store._engine, "before_cursor_execute", keep)
    for work in works:
        await work()
    event.remove(store._engine, "before_cursor_execute", keep)

    def explained(tx: Transaction) -> list[str]:
        nodes = []
        for statement, parameters in sent.items():
            rows = tx.connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)  # type: ignore[arg-type]
            nodes += [row[0].strip(" ->").partition("  (")[0] for row in rows if " escrows" in row[0]]
        return nodes

    return await store.read(explained)
