"""The catalogue keeps to the conventions, instruments count what happened and nothing else, and the tally is right."""

from __future__ import annotations

import re

import pytest

from monero_escrow.core.deposits import OutputStatus
from monero_escrow.core.errors import ConflictError
from monero_escrow.core.life_cycle import State
from monero_escrow.store.store import DatabaseBusyError, SqlStore
from monero_escrow.store.transaction import Transaction
from monero_escrow.telemetry.catalogue import ALL, COUNTED, PREFIX, Kind, Metric
from monero_escrow.telemetry.metrics import ORDER, STOCK, Metrics
from unit.engines import on_both_engines
from unit.rows import escrow, output
from unit.slots import VirtualClock

_UNITS = ("_seconds", "_blocks", "_ratio", "_trios", "_info", "_success", "_xmr")
_PLAIN_COUNTS = {"escrows", "escrows_in_trouble", "payouts_held", "slots", "slots_configured"}
_SECRETIVE = re.compile(r"(^|_)(id|address|shop|order_id|txid|url|host|key|amount|wallet|slot|escrow|payout|name)$")


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(PREFIX + name, labels) or 0.0


def test_every_name_is_there_once_and_says_its_unit() -> None:
    assert len({row.full_name for row in ALL}) == len(ALL)
    for row in ALL:
        assert re.fullmatch(r"monero_escrow_[a-z_]+", row.full_name)
        if row.kind is Kind.HISTOGRAM:
            assert row.name.endswith("_seconds")
            assert row.buckets == tuple(sorted(set(row.buckets)))
        elif row.kind is Kind.GAUGE:
            counted = row.name in _PLAIN_COUNTS or row.name.startswith(("leases_waiting", "set_ups_under_way"))
            assert counted or row.name.endswith(_UNITS), row.name


def test_no_label_could_be_an_id_an_address_or_a_shop_and_there_are_few() -> None:
    for row in ALL:
        assert len(row.labels) <= 4
        assert not [label for label in row.labels if _SECRETIVE.search(label)], row.name


@pytest.mark.parametrize("row", COUNTED, ids=lambda row: row.name)
def test_every_counted_metric_is_in_the_registry_under_its_name_and_kind(row: Metric) -> None:
    families = {family.name: family for family in Metrics().registry.collect()}
    family = families[row.full_name.removesuffix("_total")]
    assert (family.type, family.documentation) == (row.kind.value, row.help)


def test_two_services_of_one_process_never_count_for_each_other() -> None:
    here, there = Metrics(), Metrics()
    here.wallets_created.inc()
    assert (value(here, "wallets_created_total"), value(there, "wallets_created_total")) == (1, 0)


def test_a_set_up_is_under_way_until_it_ends_and_then_it_worked_or_not(clock: VirtualClock) -> None:
    metrics = Metrics()
    with metrics.one_set_up(STOCK, clock):
        assert value(metrics, "set_ups_under_way") == 1
    with pytest.raises(RuntimeError), metrics.one_set_up(ORDER, clock):
        raise RuntimeError
    assert value(metrics, "set_ups_under_way") == 0
    assert value(metrics, "set_ups_total", purpose=STOCK, result="ok") == 1
    assert value(metrics, "set_ups_total", purpose=ORDER, result="failed") == 1
    assert value(metrics, "set_up_seconds_count") == 1  # of those that worked


def test_a_wallet_that_is_not_closed_is_an_attempt_and_a_failure() -> None:
    metrics = Metrics()
    with metrics.wallet_close():
        pass
    with pytest.raises(RuntimeError), metrics.wallet_close():
        raise RuntimeError
    assert value(metrics, "wallet_close_attempts_total") == 2
    assert value(metrics, "wallet_close_failures_total") == 1


def test_a_call_that_was_refused_is_timed_and_counted_by_its_cause() -> None:
    metrics = Metrics()
    metrics.rpc_call("wallet_rpc", "open_wallet", 0.2, "ok")
    metrics.rpc_call("wallet_rpc", "open_wallet", 0.1, "wallet_file_missing")
    labels = {"program": "wallet_rpc", "method": "open_wallet"}
    assert value(metrics, "rpc_seconds_count", **labels) == 2
    assert value(metrics, "rpc_errors_total", **labels, cause="wallet_file_missing") == 1


@on_both_engines
async def test_what_never_committed_is_not_counted(store: SqlStore) -> None:
    def fails(tx: Transaction) -> None:
        tx.audit.add("service", "never", 1.0)
        tx.measure(lambda metrics: metrics.deposits_seen.inc())
        raise ConflictError("It is undone.")

    def undoes_a_part(tx: Transaction) -> None:
        tx.audit.add("service", "is", 1.0)
        tx.measure(lambda metrics: metrics.deposits_seen.inc())
        with pytest.raises(ConflictError), tx.part():
            fails(tx)

    with pytest.raises(ConflictError):
        await store.write(fails)
    assert (value(store.metrics, "audit_writes_total"), value(store.metrics, "deposits_seen_total")) == (0, 0)
    await store.write(undoes_a_part)
    assert (value(store.metrics, "audit_writes_total"), value(store.metrics, "deposits_seen_total")) == (1, 1)
    assert value(store.metrics, "database_seconds_count", kind="write") == 2
    assert value(store.metrics, "database_errors_total", kind="write", cause="conflict") == 0


async def test_a_database_that_is_busy_is_counted_by_its_cause(store: SqlStore) -> None:
    def busy(_: Transaction) -> None:
        raise DatabaseBusyError("It is locked.")

    with pytest.raises(DatabaseBusyError):
        await store.read(busy)
    assert value(store.metrics, "database_errors_total", kind="read", cause=DatabaseBusyError.code) == 1


@on_both_engines
async def test_the_tally_counts_by_state_and_knows_who_has_waited_longest(store: SqlStore) -> None:
    now = 10_000.0
    rows = [
        escrow("a", state=State.SETTING_UP, updated_at=now - 50),
        escrow("b", state=State.SETTING_UP, updated_at=now - 300),
        escrow("c", state=State.FUNDED, updated_at=now - 70),
        escrow("d", state=State.EXPIRED, updated_at=now - 9_000),
    ]

    came = {
        "one": ("c", OutputStatus.COUNTED),
        "two": ("c", OutputStatus.DUST),
        "pending": ("b", OutputStatus.PENDING),
        "of a closed one": ("d", OutputStatus.COUNTED),
    }

    def add(tx: Transaction) -> None:
        for row in rows:
            tx.escrows.add(row)
        for failing in ("a", "d"):
            tx.escrows.looked_at(tx.escrows.get(failing), now, failures=2, trouble="Nothing answers.")
        for name, (escrow_id, status) in came.items():
            tx.outputs.add(output(name, escrow_id, status=status, amount_piconero=7))

    await store.write(add)
    tally = await store.read(lambda tx: tx.tally(now))
    assert (tally.escrows[State.SETTING_UP], tally.escrows[State.FUNDED], tally.escrows[State.EXPIRED]) == (2, 1, 1)
    assert tally.escrows[State.DISPUTED] == 0
    assert tally.longest_seconds == {State.SETTING_UP: 300, State.FUNDED: 70}
    assert (tally.in_trouble, tally.held, tally.stock_ages_seconds, tally.scanned_height) == (1, 0, (), 0)
    assert tally.in_escrow_piconero == 2 * 7
    assert tally.ordered_piconero == sum(row.terms.amount_piconero for row in rows[:3])
