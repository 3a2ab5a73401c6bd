"""What a day's work leaves in /metrics: everything is counted, and nothing tells whose it was."""

from __future__ import annotations

import re
from pathlib import Path

import httpx2
from sqlalchemy import select

from monero_escrow.core.life_cycle import State
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.decide import release
from monero_escrow.monero.waiting import until
from monero_escrow.store.records import PayoutState, Scope
from monero_escrow.store.schema import metadata
from monero_escrow.store.transaction import Transaction
from monero_escrow.telemetry.catalogue import PREFIX
from monero_escrow.web.app import create_app
from unit.fake_service import CONFIRMATIONS, Town, payout_is, settings_of

DATABASE_KEY = "44" * 32
TOKEN = "a-token-for-prometheus-alone"
_MADE_UP = re.compile(r"[0-9a-f]{16,}|[1-9A-HJ-NP-Za-km-z]{40,}")
"""What an id, a key or a txid looks like, and an address."""


async def scraped(conductor: Conductor) -> str:
    transport = httpx2.ASGITransport(app=create_app(conductor))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://example.com", headers=headers) as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    return answer.text


def value(text: str, series: str) -> float:
    found = re.search(rf"^{PREFIX}{re.escape(series)} (\S+)$", text, re.MULTILINE)
    assert found is not None, series
    return float(found[1])


async def every_text(conductor: Conductor) -> set[str]:
    """Whatever stands in a text column of the database and is not one of the words of the code."""

    def read(tx: Transaction) -> set[str]:
        rows = [row for table in metadata.sorted_tables for row in tx.connection.execute(select(table))]
        return {value for row in rows for value in row if isinstance(value, str) and len(value) > 12}

    return await conductor.ctx.store.read(read)


async def test_a_funded_and_released_order_is_counted_at_every_step_and_named_at_none(tmp_path: Path) -> None:
    town = Town()
    processes = town.processes()
    settings = settings_of(tmp_path, processes, metrics_token=TOKEN)
    async with town.service(settings, processes) as conductor:
        ctx = conductor.ctx
        _, key = await ctx.store.write(lambda tx: tx.keys.create(Scope.OPERATOR, None, "the boss", ctx.clock.now()))
        escrow_id = await town.funded(conductor)
        await ctx.store.write(await release(ctx, escrow_id, "shop:test"))
        ctx.nudge(escrow_id)
        await payout_is(conductor, escrow_id, PayoutState.BROADCAST)
        await town.chain.mine(CONFIRMATIONS)
        await payout_is(conductor, escrow_id, PayoutState.SETTLED)

        async def back() -> bool:
            return ctx.pool.stats().free == len(processes)

        await until(back, limit_seconds=10)
        text, texts = await scraped(conductor), await every_text(conductor)

    assert value(text, 'set_ups_total{purpose="order",result="ok"}') == 1
    assert value(text, "set_up_seconds_count") == value(text, "order_to_address_seconds_count") == 1
    for name in ("make wallet", "prepare", "make", "exchange", "finish", "gate"):
        assert value(text, f'set_up_round_seconds_count{{round="{name}"}}') == 1
    assert value(text, "wallets_created_total") == 3
    assert value(text, "wallet_close_attempts_total") >= 3
    assert value(text, "wallet_close_failures_total") == 0
    assert (value(text, "deposits_seen_total"), value(text, "deposits_confirmed_total")) == (1, 1)
    for result in ("decided", "signed", "broadcast", "settled"):
        assert value(text, f'payouts_total{{kind="release",result="{result}"}}') == 1
    assert value(text, "audit_writes_total") >= 5
    assert value(text, 'state_seconds_count{state="funded"}') == 1
    assert value(text, 'escrows{state="settled"}') == 1
    assert value(text, "scan_lag_blocks") <= 1
    assert value(text, "set_ups_under_way") == 0

    assert len(texts) > 10
    secrets = {*texts, key, TOKEN, DATABASE_KEY, "the boss", escrow_id, "order-1", town.address_of("buyer 1")}
    assert not [secret for secret in secrets if secret in text and secret not in {state.value for state in State}]
    without_values = [line.rpartition(" ")[0] for line in text.splitlines()]
    assert not [line for line in without_values if _MADE_UP.search(line)]
