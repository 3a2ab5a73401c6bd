"""What a restore brings back from the second place: escrows whose addresses are newer than the copy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from monero_escrow.config import Settings
from monero_escrow.core.errors import ConflictError
from monero_escrow.core.key_exchange import KeyExchange, Round
from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.store.records import TrioRecord, TrioState
from monero_escrow.store.sealing import SealBrokenError, Sealer
from monero_escrow.store.second_place import KeptTrio, SecondFolder, SecondPlaceDamagedError
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.restoring import (
    NOW,
    SEALER,
    add_trio,
    back_up,
    refusal,
    reopened,
    restored,
    second_machine,
    settings_of,
)
from unit.rows import NETWORK, address, escrow, hex64, message, participants


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of the machine that is restored to."""
    return second_machine(tmp_path)


def finished_trio(trio_id: str, escrow_id: str) -> TrioRecord:
    rounds = (Round.PREPARE, Round.MAKE, Round.EXCHANGE)
    messages = {(made, role): message(role, int(made)) + trio_id for made in rounds for role in ROLES}
    return TrioRecord(
        id=trio_id,
        escrow_id=escrow_id,
        state=TrioState.READY,
        restore_height=7,
        address=address(trio_id),
        participants={person.role: person for person in participants(trio_id)},
        exchange=KeyExchange(messages, dict.fromkeys(Role, address(trio_id))),
    )


def keep(settings: Settings, trio_id: str, escrow_id: str = "newer", *, at: float = 600.0, **changes: object) -> None:
    """What the lost service left in the second place of a finished set-up."""
    order = escrow(escrow_id, **changes)
    kept = KeptTrio.of(
        order,
        finished_trio(trio_id, escrow_id),
        address(trio_id),
        hex64(f"view key of {trio_id}"),
        network=NETWORK,
        now=at,
    )
    assert settings.second_place_folder is not None
    SecondFolder(settings.second_place_folder, SEALER).keep(kept)


async def test_an_escrow_newer_than_the_copy_comes_back_whole_and_awaits_its_deposit(
    tmp_path: Path, store: SqlStore, settings: Settings, request: pytest.FixtureRequest
) -> None:
    keep(settings, "trio")
    done = await restored(settings, back_up(tmp_path))

    new = reopened(settings, request)
    back = await new.read(lambda tx: tx.escrows.get("newer"))
    assert done.recovered == 1
    assert (back.state, back.deposit_address, back.trio_id) == (State.AWAITING_DEPOSIT, address("trio"), "trio")
    assert (back.shop_id, back.order_id, back.terms) == ("shop", "order of newer", escrow("newer").terms)
    assert back.request_fingerprint == escrow("newer").request_fingerprint
    assert back.deposit_deadline == NOW + back.deposit_window_seconds
    assert back.due_at == NOW
    assert await new.read(lambda tx: tx.trios.get("trio")) == finished_trio("trio", "newer")
    assert await new.read(lambda tx: tx.trios.view_key("trio")) == hex64("view key of trio")
    history = [row.action for row in await new.read(lambda tx: tx.audit.of("newer"))]
    assert "recovered_from_second_place" in history


async def test_a_set_up_under_way_in_the_copy_gets_the_address_that_may_have_been_shown(
    tmp_path: Path, store: SqlStore, settings: Settings, request: pytest.FixtureRequest
) -> None:
    trio = finished_trio("trio", "escrow")

    def begin(tx: Transaction) -> None:
        tx.escrows.add(escrow("escrow"))
        add_trio(tx, "trio", "escrow", finished=False)
        prepared = {role: trio.exchange.messages[Round.PREPARE, role] for role in ROLES}
        tx.trios.add_messages("trio", Round.PREPARE, prepared, 101.0)

    await store.write(begin)
    file = back_up(tmp_path)
    keep(settings, "trio", "escrow")
    done = await restored(settings, file)

    new = reopened(settings, request)
    assert done.recovered == 1
    assert (await new.read(lambda tx: tx.escrows.get("escrow"))).deposit_address == address("trio")
    assert await new.read(lambda tx: tx.trios.get("trio")) == trio


async def test_of_several_attempts_only_the_last_can_have_been_shown_and_the_others_keep_their_keys(
    tmp_path: Path, store: SqlStore, settings: Settings, request: pytest.FixtureRequest
) -> None:
    keep(settings, "z first", at=600.0)
    keep(settings, "a last", at=602.0)
    keep(settings, "m second", at=601.0)
    done = await restored(settings, back_up(tmp_path))

    new = reopened(settings, request)
    states = [await new.read(lambda tx, name=name: tx.trios.get(name)) for name in ("z first", "m second", "a last")]  # type: ignore[misc]
    assert done.recovered == 1
    assert (await new.read(lambda tx: tx.escrows.get("newer"))).trio_id == "a last"
    assert [trio.state for trio in states] == [TrioState.QUARANTINED, TrioState.QUARANTINED, TrioState.READY]


async def test_what_the_copy_knows_already_stays_as_the_copy_has_it(
    tmp_path: Path, store: SqlStore, settings: Settings, request: pytest.FixtureRequest
) -> None:
    def fill(tx: Transaction) -> None:
        tx.escrows.add(escrow("known"))
        add_trio(tx, "trio", "known", finished=True)
        values = {"state": State.FUNDED, "trio_id": "trio", "deposit_address": address("trio")}
        tx.escrows.change("known", expected=State.SETTING_UP, now=1.0, **values)

    await store.write(fill)
    keep(settings, "trio", "known")
    done = await restored(settings, back_up(tmp_path))

    assert done.recovered == 0
    assert (await reopened(settings, request).read(lambda tx: tx.escrows.get("known"))).state is State.FUNDED


async def test_an_escrow_cancelled_before_the_copy_stays_cancelled_and_its_keys_come_back(
    tmp_path: Path, store: SqlStore, settings: Settings, request: pytest.FixtureRequest
) -> None:
    await store.write(lambda tx: tx.escrows.add(escrow("cancelled")))
    await store.write(
        lambda tx: tx.escrows.change("cancelled", expected=State.SETTING_UP, now=1.0, state=State.CANCELLED)
    )
    keep(settings, "trio", "cancelled")
    done = await restored(settings, back_up(tmp_path))

    new = reopened(settings, request)
    assert done.recovered == 0
    assert (await new.read(lambda tx: tx.escrows.get("cancelled"))).state is State.CANCELLED
    assert (await new.read(lambda tx: tx.trios.get("trio"))).state is TrioState.QUARANTINED


async def test_stock_that_was_claimed_after_the_copy_comes_back_to_the_order_that_claimed_it(
    tmp_path: Path, store: SqlStore, settings: Settings, request: pytest.FixtureRequest
) -> None:
    def stock(tx: Transaction) -> None:
        for name in ("claimed", "perhaps claimed"):
            tx.trios.add(name, None, 3, 101.0)
            tx.trios.add_hosted(participants(name), 101.0)
            tx.trios.finish(name, address(name), hex64(f"view key of {name}"), NETWORK, 102.0)

    await store.write(stock)
    file = back_up(tmp_path)
    keep(settings, "claimed")
    done = await restored(settings, file)

    new = reopened(settings, request)
    back = await new.read(lambda tx: tx.escrows.get("newer"))
    assert (done.quarantined, done.recovered) == (2, 1)
    assert (back.state, back.trio_id) == (State.AWAITING_DEPOSIT, "claimed")
    assert await new.read(lambda tx: tx.trios.get("claimed")) == finished_trio("claimed", "newer")
    assert (await new.read(lambda tx: tx.trios.get("perhaps claimed"))).state is TrioState.QUARANTINED
    assert await new.read(lambda tx: tx.trios.stock_ages(NOW)) == []


async def test_an_order_that_had_claimed_its_trio_in_the_copy_gets_the_address_that_was_shown_since(
    tmp_path: Path, store: SqlStore, settings: Settings, request: pytest.FixtureRequest
) -> None:
    def claimed(tx: Transaction) -> None:
        tx.escrows.add(escrow("newer"))
        tx.trios.add("trio", "newer", 7, 101.0)
        tx.trios.add_hosted(participants("trio"), 101.0)
        tx.trios.finish("trio", address("trio"), hex64("view key of trio"), NETWORK, 102.0)

    await store.write(claimed)
    file = back_up(tmp_path)
    keep(settings, "trio")
    done = await restored(settings, file)

    back = await reopened(settings, request).read(lambda tx: tx.escrows.get("newer"))
    assert (done.quarantined, done.recovered) == (0, 1)
    assert (back.state, back.deposit_address) == (State.AWAITING_DEPOSIT, address("trio"))


Contradiction = Callable[[Transaction], None]


def same_order(tx: Transaction) -> None:
    tx.escrows.add(escrow("another", order_id="order of newer"))


def same_escrow(tx: Transaction) -> None:
    tx.escrows.add(escrow("newer", order_id="another order"))


def same_terms_changed(tx: Transaction) -> None:
    tx.escrows.add(escrow("newer", request_fingerprint=hex64("other terms")))


def same_trio(tx: Transaction) -> None:
    tx.escrows.add(escrow("another"))
    add_trio(tx, "trio", "another", finished=True)


def same_address(tx: Transaction) -> None:
    tx.trios.add("another", None, 7, 1.0)
    tx.trios.finish("another", address("trio"), "view key", NETWORK, 1.0)


@pytest.mark.parametrize("contradiction", [same_order, same_escrow, same_terms_changed, same_trio, same_address])
async def test_what_contradicts_the_copy_stops_the_restore_and_names_the_trio(
    tmp_path: Path, store: SqlStore, settings: Settings, contradiction: Contradiction
) -> None:
    await store.write(contradiction)
    file = back_up(tmp_path)
    keep(settings, "trio")

    error = await refusal(settings, file)

    assert isinstance(error, ConflictError)
    assert "trio trio contradicts the backup" in error.message
    assert "move its file" in error.what_to_do


async def test_a_damaged_file_in_the_second_place_stops_the_restore_and_is_named(
    tmp_path: Path, store: SqlStore, settings: Settings
) -> None:
    file = back_up(tmp_path)
    keep(settings, "trio")
    sealed = tmp_path / "second" / "trio.sealed"
    sealed.write_bytes(sealed.read_bytes()[:-1])

    error = await refusal(settings, file)

    assert isinstance(error, SecondPlaceDamagedError)
    assert "trio.sealed" in error.message


async def test_a_file_kept_under_another_trios_name_does_not_open(
    tmp_path: Path, store: SqlStore, settings: Settings
) -> None:
    file = back_up(tmp_path)
    keep(settings, "trio")
    (tmp_path / "second" / "trio.sealed").rename(tmp_path / "second" / "other.sealed")

    assert isinstance(await refusal(settings, file), SecondPlaceDamagedError)


async def test_a_second_place_that_cannot_be_read_stops_the_restore(tmp_path: Path, store: SqlStore) -> None:
    file = back_up(tmp_path)
    missing = settings_of(tmp_path / "new", backup_url=f"file://{tmp_path}/nosuch")

    assert "BACKUP_URL cannot be read" in (await refusal(missing, file)).message


def test_no_secret_is_shown_when_a_kept_trio_is_printed() -> None:
    kept = KeptTrio.of(
        escrow(), finished_trio("trio", "escrow"), address("trio"), "the view key", network=NETWORK, now=1.0
    )

    assert "the view key" not in repr(kept)
    assert "password" not in repr(kept).replace("password=", "")
    assert hex64("spend key of trio/buyer") not in repr(kept)
    assert "MultisigxV2" not in repr(kept)


def test_what_is_kept_opens_only_under_the_services_own_key(tmp_path: Path, settings: Settings) -> None:
    keep(settings, "trio")
    sealed = (tmp_path / "second" / "trio.sealed").read_bytes()

    with pytest.raises(SealBrokenError):
        Sealer(bytes(32)).open("second place", "trio", sealed)
