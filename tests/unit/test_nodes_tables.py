"""Nodes, their slots, and claims of work, as the tables keep them; on both engines."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from monero_escrow.core.errors import ConflictError, NotFoundError
from monero_escrow.core.life_cycle import State
from monero_escrow.store import schema
from monero_escrow.store.node_table import NodeNameTakenError, SlotTakenError
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from monero_escrow.store.work_table import SCAN, Claim, ClaimLostError
from unit.engines import on_both_engines
from unit.node_rows import add_due, end_lease, holder, set_home

pytestmark = on_both_engines

LEASE = 60.0
HOME = 5.0
NOW = 1_000.0


def join(store: SqlStore, name: str, node_id: str | None = None) -> str:
    """A node that is there; its id."""
    node_id = node_id or f"{name} 1"
    store.write_now(lambda tx: tx.nodes.join(node_id, name, "1.0", LEASE))
    return node_id


def claim(store: SqlStore, name: str, *, now: float = NOW, limit: int = 10) -> list[Claim]:
    """What the first run of this node gets."""
    return store.write_now(lambda tx: tx.work.claim_due(f"{name} 1", name, now, limit, home_seconds=HOME))


def names(claims: list[Claim]) -> list[str]:
    return [one.subject for one in claims]


# --- nodes ---


def test_a_living_nodes_name_is_taken(store: SqlStore) -> None:
    join(store, "a")
    with pytest.raises(NodeNameTakenError):
        join(store, "a", "a 2")


def test_a_dead_nodes_name_is_free_and_what_it_held_is_anybodys(store: SqlStore) -> None:
    join(store, "a")
    add_due(store, "one")
    claim(store, "a")
    end_lease(store, "a")
    join(store, "a", "a 2")
    assert holder(store, "one") == (None, 1)
    assert [node.id for node in store.read_now(lambda tx: tx.nodes.all())] == ["a 2"]


def test_a_lease_is_renewed_as_long_as_it_holds(store: SqlStore) -> None:
    node_id = join(store, "a")
    before = store.read_now(lambda tx: tx.nodes.all())[0]
    beat = store.write_now(lambda tx: tx.nodes.renew(node_id, 2 * LEASE, 6))
    after = store.read_now(lambda tx: tx.nodes.all())[0]
    assert beat is not None
    assert beat.draining is False
    assert after.lease_until > before.lease_until + LEASE / 2
    assert (after.slots, after.alive) == (6, True)


def test_a_lease_that_is_over_is_not_renewed(store: SqlStore) -> None:
    node_id = join(store, "a")
    end_lease(store, "a")
    assert store.write_now(lambda tx: tx.nodes.renew(node_id, LEASE, 0)) is None
    assert store.read_now(lambda tx: tx.nodes.is_alive(node_id)) is False


def test_a_heartbeat_hears_that_the_node_drains(store: SqlStore) -> None:
    node_id = join(store, "a")
    store.write_now(lambda tx: tx.nodes.drain("a"))
    beat = store.write_now(lambda tx: tx.nodes.renew(node_id, LEASE, 0))
    assert beat is not None
    assert beat.draining is True


def test_a_process_serves_one_node(store: SqlStore) -> None:
    first, second = join(store, "a"), join(store, "b")
    store.write_now(
        lambda tx: tx.nodes.use_slots(first, {"host:1": "http://example.com:1", "host:2": "http://example.com:2"})
    )
    with pytest.raises(SlotTakenError) as refused:
        store.write_now(lambda tx: tx.nodes.use_slots(second, {"host:2": "http://EXAMPLE.com:2"}))
    assert "http://example.com:2 serves the node a already" in refused.value.message


def test_a_process_that_a_node_gave_up_or_died_with_may_serve_another(store: SqlStore) -> None:
    first, second = join(store, "a"), join(store, "b")
    store.write_now(lambda tx: tx.nodes.use_slots(first, {"host:1": "u", "host:2": "u"}))
    store.write_now(lambda tx: tx.nodes.use_slots(first, {"host:1": "u"}))
    store.write_now(lambda tx: tx.nodes.use_slots(second, {"host:2": "u"}))
    end_lease(store, "a")
    store.write_now(lambda tx: tx.nodes.use_slots(second, {"host:1": "u", "host:2": "u"}))


def test_a_living_node_is_not_forgotten_and_a_dead_ones_wallets_are_anybodys(store: SqlStore) -> None:
    join(store, "a")
    add_due(store, "one")
    set_home(store, "one", "a")
    with pytest.raises(ConflictError):
        store.write_now(lambda tx: tx.nodes.forget("a"))
    end_lease(store, "a")
    store.write_now(lambda tx: tx.nodes.forget("a"))
    assert store.read_now(lambda tx: tx.nodes.all()) == []
    join(store, "a", "a 2")
    join(store, "b")
    assert names(claim(store, "b", now=100.0)) == ["one"], "not left to the node that has its old name"


@pytest.mark.parametrize("ask", [lambda tx: tx.nodes.drain("nobody"), lambda tx: tx.nodes.forget("nobody")])
def test_a_node_that_is_not_there_is_said_to_be_so(store: SqlStore, ask: object) -> None:
    with pytest.raises(NotFoundError):
        store.write_now(ask)  # type: ignore[arg-type]


# --- claims ---


def test_set_ups_and_payouts_are_claimed_first_and_then_the_longest_waiting(store: SqlStore) -> None:
    join(store, "a")
    add_due(store, "funded early", "funded late", state=State.FUNDED, due_at=10.0)
    add_due(store, "pays", state=State.PAYING_OUT, due_at=30.0)
    add_due(store, "sets up", due_at=20.0)
    add_due(store, "not due", due_at=NOW + 1)
    assert names(claim(store, "a", limit=3)) == ["sets up", "pays", "funded early"]
    assert names(claim(store, "a")) == ["funded late"]


def test_what_one_holds_nobody_else_gets_before_its_lease_is_over(store: SqlStore) -> None:
    join(store, "a")
    join(store, "b")
    add_due(store, "one")
    (first,) = claim(store, "a")
    assert claim(store, "b") == []
    end_lease(store, "a")
    (second,) = claim(store, "b")
    assert second.fence == first.fence + 1


def test_a_write_under_a_stale_fence_is_undone(store: SqlStore) -> None:
    join(store, "a")
    join(store, "b")
    add_due(store, "one")
    (stale,) = claim(store, "a")
    end_lease(store, "a")
    claim(store, "b")

    def write(tx: Transaction) -> None:
        tx.escrows.look_at_height("one", 7)
        tx.work.require(stale)

    with pytest.raises(ClaimLostError):
        store.write_now(write)
    look = schema.escrows.c.due_height
    assert store.read_now(lambda tx: tx.connection.scalar(schema.escrows.select().with_only_columns(look))) is None


def test_what_was_taken_over_is_not_given_back_by_its_first_holder(store: SqlStore) -> None:
    join(store, "a")
    join(store, "b")
    add_due(store, "one")
    (stale,) = claim(store, "a")
    end_lease(store, "a")
    (held,) = claim(store, "b")
    store.write_now(lambda tx: tx.work.give_back(stale))
    assert holder(store, "one") == (held.node_id, held.fence)
    store.write_now(lambda tx: tx.work.give_back(held))
    assert holder(store, "one") == (None, held.fence)


def test_work_is_left_to_the_node_that_has_the_files_and_then_to_anybody(store: SqlStore) -> None:
    join(store, "a")
    join(store, "b")
    add_due(store, "one", due_at=NOW)
    set_home(store, "one", "b")
    assert claim(store, "a") == []
    assert claim(store, "a", now=NOW + HOME - 0.1) == []
    assert names(claim(store, "a", now=NOW + HOME)) == ["one"]


@pytest.mark.parametrize("gone", ["dead", "draining", "never there"])
def test_work_is_not_left_to_a_node_that_takes_up_nothing(store: SqlStore, gone: str) -> None:
    join(store, "a")
    add_due(store, "one", due_at=NOW)
    set_home(store, "one", "b")
    if gone != "never there":
        join(store, "b")
    if gone == "dead":
        end_lease(store, "b")
    if gone == "draining":
        store.write_now(lambda tx: tx.nodes.drain("b"))
    assert names(claim(store, "a")) == ["one"]


def next_due_at(store: SqlStore, name: str) -> float | None:
    return store.read_now(lambda tx: tx.work.next_due_at(name, home_seconds=HOME))


def test_the_next_to_do_is_what_this_node_may_claim(store: SqlStore) -> None:
    """Else a node would ask again and again for what is another's to begin."""
    join(store, "a")
    join(store, "b")
    assert next_due_at(store, "a") is None
    add_due(store, "of b", due_at=NOW)
    set_home(store, "of b", "b")
    assert (next_due_at(store, "a"), next_due_at(store, "b")) == (NOW + HOME, NOW)
    add_due(store, "of nobody", due_at=NOW + 2)
    assert next_due_at(store, "a") == NOW + 2
    claim(store, "b", now=NOW + 2)
    assert next_due_at(store, "a") is None


def test_the_next_lease_to_end_is_that_of_another_living_node(store: SqlStore) -> None:
    def seconds() -> float | None:
        return store.read_now(lambda tx: tx.work.seconds_to_next_lapse("a 1"))

    join(store, "a")
    assert seconds() is None
    join(store, "b")
    left = seconds()
    assert left is not None
    assert LEASE - 30 < left <= LEASE
    end_lease(store, "b")
    assert seconds() is None


def test_what_a_wrong_clock_put_off_is_due_at_once(store: SqlStore) -> None:
    join(store, "a")
    add_due(store, "set-up next year", due_at=NOW + 9_999)
    add_due(store, "look tomorrow", due_at=NOW + 999, state=State.FUNDED)
    store.write_now(lambda tx: tx.work.pull_back(NOW, work_seconds=300.0, look_seconds=1_000.0))
    assert names(claim(store, "a")) == ["set-up next year"]


def test_a_node_lets_go_of_all_but_what_it_knows_of(store: SqlStore) -> None:
    join(store, "a")
    add_due(store, "known", "unknown")
    claim(store, "a")
    store.write_now(lambda tx: tx.work.keep_only("a 1", ["known"]))
    assert holder(store, "known") == ("a 1", 1)
    assert holder(store, "unknown") == (None, 1)


# --- duties ---


def test_one_node_does_a_duty_until_its_lease_is_over(store: SqlStore) -> None:
    join(store, "a")
    join(store, "b")
    first = store.write_now(lambda tx: tx.work.claim_duty(SCAN, "a 1"))
    assert first is not None
    assert store.write_now(lambda tx: tx.work.claim_duty(SCAN, "b 1")) is None
    again = store.write_now(lambda tx: tx.work.claim_duty(SCAN, "a 1"))
    assert again is not None
    assert again.fence > first.fence
    end_lease(store, "a")
    second = store.write_now(lambda tx: tx.work.claim_duty(SCAN, "b 1"))
    assert second is not None
    assert second.fence > again.fence
    with pytest.raises(ClaimLostError):
        store.write_now(lambda tx: tx.work.require_duty(again))
    store.write_now(lambda tx: tx.work.require_duty(second))


def test_a_duty_that_is_given_back_is_anybodys(store: SqlStore) -> None:
    join(store, "a")
    join(store, "b")
    held = store.write_now(lambda tx: tx.work.claim_duty(SCAN, "a 1"))
    assert held is not None
    store.write_now(lambda tx: tx.work.give_duty_back(held))
    assert store.write_now(lambda tx: tx.work.claim_duty(SCAN, "b 1")) is not None


def test_a_lease_that_ended_is_over_even_if_the_renewal_was_sent_before(store: SqlStore) -> None:
    """Looking and renewing are one statement: the lease cannot end between them."""
    node_id = join(store, "a")

    def late(tx: Transaction) -> object:
        n = schema.nodes
        tx.connection.execute(update(n).values(lease_until=tx.nodes.now() - 0.001))
        return tx.nodes.renew(node_id, LEASE, 0)

    assert store.write_now(late) is None
