"""What an operator's page does about a held payout: asked once more, done once, and by one of two who act at once."""

from __future__ import annotations

import asyncio
from html import unescape
from unittest.mock import patch

import pytest

from monero_escrow.core.life_cycle import State
from monero_escrow.escrows.held import hold
from monero_escrow.monero.ports import KeyImageStatus
from monero_escrow.store.records import AuditRecord, PayoutRecord, PayoutState
from web.page_visits import read, send, shown_for, signed_in
from web.world import World

CHOICES = ("resume", "replace", "call-off", "write-off")


def path_of(escrow_id: str, choice: str, number: str = "1") -> str:
    return f"/admin/escrows/{escrow_id}/payouts/{number}/{choice}"


async def hold_again(world: World, payout: PayoutRecord) -> None:
    await world.store.write(lambda tx: hold(tx, payout.id, "The anchor is spent.", world.clock.now()))


async def history(world: World, escrow_id: str) -> list[AuditRecord]:
    return await world.store.read(lambda tx: tx.audit.of(escrow_id))


async def spend_its_coins(world: World, escrow_id: str) -> None:
    """Somebody else's transaction spends them, as far as the daemon says."""

    async def get_transactions(_txids: list[str]) -> dict[str, object]:
        return {}

    async def is_key_image_spent(images: list[str]) -> list[KeyImageStatus]:
        return [KeyImageStatus.IN_CHAIN for _ in images]

    world.daemon.get_transactions = get_transactions  # type: ignore[attr-defined]
    world.daemon.is_key_image_spent = is_key_image_spent  # type: ignore[attr-defined]
    (coin,) = await world.store.read(lambda tx: tx.outputs.of(escrow_id))
    await world.store.write(lambda tx: tx.outputs.change(escrow_id, coin.public_key, key_image="ab" * 32))


async def test_an_operator_finds_every_choice_with_what_it_does_and_nobody_else_any(world: World) -> None:
    escrow_id = await world.held_payout()
    async with signed_in(world) as browser:
        page = unescape(await read(browser, f"/admin/escrows/{escrow_id}"))
    for choice in CHOICES:
        assert f'href="{path_of(escrow_id, choice)}"' in page
    assert page.count("What must be true:") == len(CHOICES)
    disputed = await world.add_escrow(State.DISPUTED, disputed=True)
    async with signed_in(world, "arbiter") as browser:
        assert "What must be true" not in await read(browser, f"/admin/escrows/{disputed}")
        assert "for operators" in await read(browser, path_of(escrow_id, "resume"), status=403)
        assert (await send(browser, path_of(escrow_id, "resume"), {"shown": "1"})).status_code == 403


@pytest.mark.parametrize(("choice", "action"), [("resume", "payout_resumed"), ("replace", "payout_to_be_replaced")])
async def test_a_held_payout_is_taken_up_after_a_second_yes_under_the_keys_name(
    world: World, choice: str, action: str
) -> None:
    escrow_id = await world.held_payout()
    path = path_of(escrow_id, choice)
    async with signed_in(world) as browser:
        confirm = unescape(await read(browser, path))
        assert "The anchor is spent." in confirm
        assert "What it does:" in confirm
        assert (await world.payout_of(escrow_id)).state is PayoutState.HELD
        answer = await send(browser, path, {"shown": await shown_for(browser, path)})
        assert (answer.status_code, answer.headers["location"]) == (303, f"/admin/escrows/{escrow_id}")
        assert "What must be true" not in await read(browser, f"/admin/escrows/{escrow_id}")
    assert (await world.payout_of(escrow_id)).state is PayoutState.DECIDED
    last = (await history(world, escrow_id))[-1]
    assert (last.action, last.source) == (action, "127.0.0.1")
    assert last.actor.startswith("operator:test:")


async def test_a_payout_for_which_nothing_was_signed_is_called_off(world: World) -> None:
    escrow_id = await world.held_payout()
    await spend_its_coins(world, escrow_id)

    async def unspent(images: list[str]) -> list[KeyImageStatus]:
        return [KeyImageStatus.UNSPENT for _ in images]

    world.daemon.is_key_image_spent = unspent  # type: ignore[attr-defined]
    path = path_of(escrow_id, "call-off")
    async with signed_in(world) as browser:
        assert "cannot be taken back" in await read(browser, path)
        assert (await send(browser, path, {"shown": await shown_for(browser, path)})).status_code == 303
    assert (await world.payout_of(escrow_id)).state is PayoutState.CALLED_OFF
    assert await world.state_of(escrow_id) is State.AWAITING_DEPOSIT


async def test_a_write_off_wants_to_know_where_the_coins_went(world: World) -> None:
    escrow_id = await world.held_payout()
    await spend_its_coins(world, escrow_id)
    path = path_of(escrow_id, "write-off")
    async with signed_in(world) as browser:
        shown = await shown_for(browser, path)
        for reason in ("  ", "x" * 1_001, "with a\x00NUL"):
            assert (await send(browser, path, {"shown": shown, "reason": reason})).status_code == 422
        assert (await world.payout_of(escrow_id)).state is PayoutState.HELD
        answer = await send(browser, path, {"shown": shown, "reason": "Paid by the <old> service."})
        assert answer.status_code == 303
        assert "Paid by the &lt;old&gt; service." in await read(browser, f"/admin/escrows/{escrow_id}")
    assert (await world.payout_of(escrow_id)).state is PayoutState.WRITTEN_OFF


async def test_what_the_chain_contradicts_is_refused_and_says_why(world: World) -> None:
    escrow_id = await world.held_payout()
    await spend_its_coins(world, escrow_id)
    path = path_of(escrow_id, "call-off")
    async with signed_in(world) as browser:
        answer = await send(browser, path, {"shown": await shown_for(browser, path)})
    assert answer.status_code == 409
    assert "An output of this payout is spent already." in answer.text
    assert (await world.payout_of(escrow_id)).state is PayoutState.HELD


async def test_of_two_operators_who_act_at_once_one_wins_and_the_other_is_told(world: World) -> None:
    escrow_id = await world.held_payout()
    resume, replace = path_of(escrow_id, "resume"), path_of(escrow_id, "replace")
    async with signed_in(world) as one, signed_in(world) as other:
        shown = {"shown": await shown_for(one, resume)}
        answers = await asyncio.gather(send(one, resume, shown), send(other, replace, shown))
        assert sorted(answer.status_code for answer in answers) == [303, 409]
        (told,) = (unescape(answer.text) for answer in answers if answer.status_code == 409)
        assert "Payout 1 is decided now, not held. The last that was done: payout " in told
        assert "by operator:test:" in told
        assert "Nothing was done by you." in told
        assert f'<a href="/admin/escrows/{escrow_id}">The escrow as it is now</a>' in told
        late = await other.get(replace)
        assert late.status_code == 409
    done = [row.action for row in await history(world, escrow_id) if row.actor.startswith("operator:")]
    assert len(done) == 1


async def test_who_was_shown_an_earlier_holding_does_nothing_about_the_next(world: World) -> None:
    escrow_id = await world.held_payout()
    path = path_of(escrow_id, "resume")
    async with signed_in(world) as one, signed_in(world) as other:
        shown = {"shown": await shown_for(other, path)}
        assert (await send(one, path, shown)).status_code == 303
        await hold_again(world, await world.payout_of(escrow_id))
        answer = await send(other, path, shown)
    assert answer.status_code == 409
    assert "was taken up meanwhile, and is held again. The last that was done: payout resumed, by" in answer.text
    assert (await world.payout_of(escrow_id)).state is PayoutState.HELD


async def test_it_is_decided_again_in_the_transaction_that_does_it(world: World) -> None:
    escrow_id = await world.held_payout()
    path = path_of(escrow_id, "call-off")
    await spend_its_coins(world, escrow_id)
    resumed = world.daemon.get_transactions  # type: ignore[attr-defined]

    async def while_the_chain_is_asked(txids: list[str]) -> object:
        async with world.client("operator") as client:
            assert (await client.post(f"/api/escrows/{escrow_id}/payouts/1/resume")).status_code == 200
        return await resumed(txids)

    with patch.object(world.daemon, "get_transactions", while_the_chain_is_asked):
        async with signed_in(world) as browser:
            answer = await send(browser, path, {"shown": await shown_for(browser, path)})
    assert answer.status_code == 409
    assert "not held. The last that was done: payout resumed" in answer.text
    assert (await world.payout_of(escrow_id)).state is PayoutState.DECIDED


@pytest.mark.parametrize("shown", ["", "0", "-1", "x", "9" * 19, "' OR 1=1"])
async def test_a_form_that_no_page_of_ours_made_does_nothing(world: World, shown: str) -> None:
    escrow_id = await world.held_payout()
    async with signed_in(world) as browser:
        answer = await send(browser, path_of(escrow_id, "resume"), {"shown": shown})
        assert answer.status_code == 409
        forged = await send(browser, path_of(escrow_id, "resume"), {"shown": shown}, form_token="0" * 64)
        assert forged.status_code == 403
    assert (await world.payout_of(escrow_id)).state is PayoutState.HELD


@pytest.mark.parametrize(
    ("number", "choice", "status"),
    [("2", "resume", 404), ("0", "resume", 422), ("x", "resume", 422), ("1", "pay-me", 404), ("1", "%00", 404)],
)
async def test_what_is_not_there_is_told_so(world: World, number: str, choice: str, status: int) -> None:
    escrow_id = await world.held_payout()
    async with signed_in(world) as browser:
        await read(browser, path_of(escrow_id, choice, number), status=status)
        assert (await send(browser, path_of(escrow_id, choice, number), {"shown": "1"})).status_code == status
        await read(browser, path_of("f" * 24, "resume"), status=404)
