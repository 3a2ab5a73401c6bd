"""The arbiter's desk: what is shown before a ruling is what is ruled, and of two rulings one wins."""

from __future__ import annotations

import asyncio
import re
from html import unescape
from unittest.mock import patch

import httpx2
import pytest

from monero_escrow.core.life_cycle import State
from monero_escrow.core.payout import PayoutKind
from monero_escrow.core.roles import Role
from monero_escrow.core.words import moment
from monero_escrow.escrows import decide
from monero_escrow.escrows.evidence import add_evidence
from monero_escrow.monero.ports import FeeEstimate
from web.page_visits import form_token_of, read, send, signed_in
from web.world import XMR, Coin, World

CAME = 2 * XMR + 1


async def disputed(world: World) -> str:
    return await world.add_escrow(State.DISPUTED, [Coin(CAME)], disputed=True)


async def seen_on(browser: httpx2.AsyncClient, escrow_id: str) -> str:
    """Which dispute, and how much of what is said in it, the desk shows."""
    return _hidden(await read(browser, f"/admin/disputes/{escrow_id}"), "seen")


async def confirmed(browser: httpx2.AsyncClient, escrow_id: str, buyer: str) -> dict[str, str]:
    """The form of the confirmation page for this share of the buyer's, come to from the desk."""
    seen = await seen_on(browser, escrow_id)
    page = await read(browser, f"/admin/disputes/{escrow_id}/confirm?buyer={buyer}&seen={seen}")
    return {name: _hidden(page, name) for name in ("buyer", "shown", "seen")}


def _hidden(page: str, name: str) -> str:
    found = set(re.findall(f'<input type="hidden" name="{name}" value="([0-9a-f.-]+)">', page))
    assert len(found) == 1, page
    return str(found.pop())


async def is_dismissed_and_disputed_anew(world: World, escrow_id: str) -> None:
    await world.store.write(decide.dismiss(world.ctx, escrow_id, "arbiter:other:1", "They agree."))
    await world.store.write(decide.dispute(world.ctx, escrow_id, "shop:acme:1", "Quite another reason."))


async def test_the_list_is_of_what_waits_for_a_ruling(world: World) -> None:
    escrow_id, _ = await disputed(world), await world.add_escrow(State.FUNDED, [Coin()])
    for who in ("arbiter", "operator"):
        async with signed_in(world, who) as browser:
            page = await read(browser, "/admin/disputes")
            assert re.findall(r"/admin/disputes/([0-9a-f]{24})", page) == [escrow_id]


async def test_no_dispute_is_an_empty_desk(world: World) -> None:
    async with signed_in(world, "arbiter") as browser:
        assert "Nobody waits for a ruling." in await read(browser, "/admin/disputes")


async def test_the_payout_is_shown_to_the_piconero_before_it_is_ruled(world: World) -> None:
    escrow_id = await disputed(world)
    async with signed_in(world, "arbiter") as browser:
        page = await read(browser, f"/admin/disputes/{escrow_id}?buyer=62.5")
    assert "Buyer 62.5 %" in page
    assert "vendor 37.5 %" in page
    cells = re.findall(r'<td class="number">((?:about )?[\d\u202f]+)</td>', page)
    assert [cell.startswith("about ") for cell in cells] == [True, True, True, False]
    assert cells[-1] == "2\u202f000\u202f000\u202f000\u202f001"
    *net, fee, total = (int(re.sub(r"\D", "", cell)) for cell in cells)
    assert total == CAME
    assert len(net) == 2
    assert sum(net) + fee == CAME
    assert fee > 0
    assert "spends 1 deposit; signed by arbiter and buyer" in page
    assert "move a little with the real fee" in page


async def test_the_slider_counts_when_it_was_the_slider_that_moved(world: World) -> None:
    escrow_id = await disputed(world)
    async with signed_in(world, "arbiter") as browser:
        path = f"/admin/disputes/{escrow_id}?buyer=10&slider=90"
        by_slider = await browser.get(path, headers={"HX-Request": "true", "HX-Trigger-Name": "slider"})
        assert "Buyer 90 %" in by_slider.text
        assert "Buyer 10 %" in await read(browser, path)


async def test_a_ruling_confirmed_twice_is_made_as_it_was_shown(world: World) -> None:
    escrow_id = await disputed(world)
    async with signed_in(world, "arbiter") as browser:
        form = await confirmed(browser, escrow_id, "70")
        confirm = await read(browser, f"/admin/disputes/{escrow_id}/confirm?buyer=70&seen={form['seen']}")
        assert "cannot be taken back" in confirm
        assert await world.state_of(escrow_id) is State.DISPUTED
        answer = await send(browser, f"/admin/disputes/{escrow_id}/rule", form)
        assert answer.headers["location"] == f"/admin/escrows/{escrow_id}"
    assert await world.state_of(escrow_id) is State.PAYING_OUT
    (payout,) = await world.store.read(lambda tx: tx.payouts.of(escrow_id))
    assert payout.plan.kind is PayoutKind.RULING
    assert payout.reason == "7000/3000 of 10,000"
    assert payout.decided_by.startswith("arbiter:")


async def test_a_ruling_that_no_longer_fits_the_deposits_is_told_so(world: World) -> None:
    escrow_id = await disputed(world)
    async with signed_in(world, "arbiter") as browser:
        form = await confirmed(browser, escrow_id, "70")
        (coin,) = await world.store.read(lambda tx: tx.outputs.of(escrow_id))
        await world.store.write(
            lambda tx: tx.outputs.change(escrow_id, coin.public_key, amount_piconero=coin.amount_piconero + XMR)
        )
        answer = await send(browser, f"/admin/disputes/{escrow_id}/rule", form)
        assert answer.status_code == 409
        assert "not any more what you were shown" in answer.text
    assert await world.state_of(escrow_id) is State.DISPUTED


async def test_why_it_was_ruled_so_is_kept_for_the_shop(world: World) -> None:
    escrow_id = await disputed(world)
    async with signed_in(world, "arbiter") as browser:
        form = await confirmed(browser, escrow_id, "70")
        path = f"/admin/disputes/{escrow_id}/rule"
        assert (await send(browser, path, {**form, "reason": "x" * 2_001})).status_code == 422
        assert await world.state_of(escrow_id) is State.DISPUTED
        assert (await send(browser, path, {**form, "reason": "The photos show it."})).status_code == 303
    async with world.client("shop") as shop:
        history = (await shop.get(f"/api/escrows/{escrow_id}")).json()["history"]
    assert history[-1]["action"] == "ruling"
    assert history[-1]["detail"]["reason"] == "The photos show it."


async def test_a_ruling_without_a_reason_is_a_ruling(world: World) -> None:
    escrow_id = await disputed(world)
    async with signed_in(world, "arbiter") as browser:
        form = await confirmed(browser, escrow_id, "70")
        assert (await send(browser, f"/admin/disputes/{escrow_id}/rule", {**form, "reason": " "})).status_code == 303
    last = (await world.store.read(lambda tx: tx.audit.of(escrow_id)))[-1]
    assert "reason" not in last.detail


async def test_after_the_ruling_the_page_says_what_was_ruled_by_whom_when_why_and_by_which_transaction(
    world: World,
) -> None:
    escrow_id = await disputed(world)
    async with signed_in(world, "arbiter") as browser:
        form = await confirmed(browser, escrow_id, "62.5")
        await send(browser, f"/admin/disputes/{escrow_id}/rule", {**form, "reason": "The <b>photos</b> show it."})
        (payout,) = await world.store.read(lambda tx: tx.payouts.of(escrow_id))
        page = await read(browser, f"/admin/disputes/{escrow_id}")
        assert "not signed yet" in page
        await world.store.write(lambda tx: tx.payouts._change(payout.id, txid="ab" * 32))
        page = await read(browser, f"/admin/disputes/{escrow_id}")
        listed = await read(browser, "/admin/disputes")
    for told in (
        "It was ruled: buyer 62.5 %, vendor 37.5 %", moment(payout.decided_at), payout.decided_by, "ab" * 32,
        "The &lt;b&gt;photos&lt;/b&gt; show it.", "<dt>Has come in all</dt><dd>2.000000000001 XMR</dd>",
    ):  # fmt: skip
        assert told in page, told
    assert "0 XMR" not in re.findall(r"<dd>(.*?)</dd>", page)
    assert "Nobody waits for a ruling." in listed
    (row,) = re.findall(r'<tr class="ruled">.*?</tr>', listed)
    for told in (f"/admin/disputes/{escrow_id}", "buyer 62.5 %, vendor 37.5 %", payout.decided_by):
        assert told in row


async def test_after_a_dismissal_the_page_says_by_whom_and_why(world: World) -> None:
    escrow_id = await disputed(world)
    await world.store.write(decide.dismiss(world.ctx, escrow_id, "arbiter:other:1", "They agree."))
    async with signed_in(world, "arbiter") as browser:
        page = await read(browser, f"/admin/disputes/{escrow_id}")
        assert "No ruling was needed" in page
        assert "arbiter:other:1" in page
        assert "They agree." in page
        assert "Rulings so far" not in await read(browser, "/admin/disputes")


async def test_what_is_ruled_is_what_was_shown_though_the_fee_moves_meanwhile(world: World) -> None:
    """At the low rate the small coin is worth moving, at the high one it would be left behind."""
    escrow_id = await world.add_escrow(State.DISPUTED, [Coin(2 * XMR), Coin(200_000_000)], disputed=True)
    asked: list[int] = []
    rates = [20_000, 2_000_000]

    async def estimate() -> FeeEstimate:
        asked.append(rates[min(len(asked), 1)])
        return FeeEstimate(asked[-1], (asked[-1],) * 4, 10_000)

    async with signed_in(world, "arbiter") as browser:
        form = await confirmed(browser, escrow_id, "50")
        token = await form_token_of(browser)
        with patch.object(world.daemon, "get_fee_estimate", estimate):
            path = f"/admin/disputes/{escrow_id}/rule"
            assert (await send(browser, path, form, token)).status_code == 303
    assert asked == [20_000]
    (payout,) = await world.store.read(lambda tx: tx.payouts.of(escrow_id))
    assert len(payout.plan.outputs) == 2


async def test_of_two_arbiters_who_rule_at_once_one_wins_and_the_other_is_told(world: World) -> None:
    escrow_id = await disputed(world)
    async with signed_in(world, "arbiter") as one, signed_in(world, "arbiter") as other:
        first, second = await confirmed(one, escrow_id, "70"), await confirmed(other, escrow_id, "20")
        path = f"/admin/disputes/{escrow_id}/rule"
        answers = await asyncio.gather(send(one, path, first), send(other, path, second))
        assert sorted(answer.status_code for answer in answers) == [303, 409]
        (told,) = (answer.text for answer in answers if answer.status_code == 409)
        assert "An escrow that is paying_out does not take" in unescape(told)
        assert "It was ruled: buyer" in await read(one, f"/admin/disputes/{escrow_id}")
    assert len(await world.store.read(lambda tx: tx.payouts.of(escrow_id))) == 1


async def test_an_operator_looks_and_does_not_rule(world: World) -> None:
    escrow_id = await disputed(world)
    async with signed_in(world) as browser:
        page = await read(browser, f"/admin/disputes/{escrow_id}?buyer=70")
        assert "Only an arbiter&#39;s key rules." in page or "Only an arbiter's key rules." in page
        answer = await send(
            browser, f"/admin/disputes/{escrow_id}/rule", {"buyer": "70", "shown": "0" * 32, "seen": "1-0"}
        )
        assert answer.status_code == 403
    assert await world.state_of(escrow_id) is State.DISPUTED


NO_SHARES = ["-1", "100.01", "1e2", "half", "", "٥٠", "9" * 500, "50.123", "33.333", "120", '"><b>']
TROUBLE = "A number from 0 to 100, at most two decimals."


@pytest.mark.parametrize("buyer", NO_SHARES)
@pytest.mark.parametrize("path", ["", "/confirm"])
async def test_a_share_that_is_none_redraws_the_desk_with_what_was_typed_and_why(
    world: World, buyer: str, path: str
) -> None:
    escrow_id = await disputed(world)
    async with signed_in(world, "arbiter") as browser:
        answer = await browser.get(f"/admin/disputes/{escrow_id}{path}", params={"buyer": buyer, "slider": "50"})
    assert answer.status_code == 422
    assert "What the parties say" in answer.text
    (field,) = re.findall(r'<input id="buyer"[^>]*>', answer.text)
    assert unescape(re.findall(r'value="([^"]*)"', field)[0]) == buyer[:40]
    assert 'aria-invalid="true"' in field
    assert f'role="alert">{TROUBLE}' in answer.text
    assert "Rule so" not in answer.text
    assert "Buyer 50 %" not in answer.text
    assert '<table class="preview">' not in answer.text


async def test_a_share_that_is_none_is_told_while_it_is_typed(world: World) -> None:
    """htmx puts only answers that are no error into the page."""
    escrow_id = await disputed(world)
    headers = {"HX-Request": "true", "HX-Trigger-Name": "buyer"}
    async with signed_in(world, "arbiter") as browser:
        before = await read(browser, f"/admin/disputes/{escrow_id}")
        answer = await browser.get(
            f"/admin/disputes/{escrow_id}", params={"buyer": "33.333", "slider": "50"}, headers=headers
        )
    assert answer.status_code == 200
    assert TROUBLE in answer.text
    assert "Rule so" not in answer.text
    (field,) = re.findall(r'<input id="buyer"[^>]*>', before)
    assert "#buyer-trouble" in field
    assert TROUBLE not in before


async def test_the_button_rules_what_stands_in_the_field_whatever_was_drawn_before(world: World) -> None:
    escrow_id = await disputed(world)
    async with signed_in(world, "arbiter") as browser:
        page = await read(browser, f"/admin/disputes/{escrow_id}?buyer=50")
        assert page.count('name="buyer"') == 1
        (button,) = re.findall(r"<button[^>]*>Rule so…</button>", page)
        assert 'form="thought"' in button
        assert f'formaction="/admin/disputes/{escrow_id}/confirm"' in button
        seen = _hidden(page, "seen")
        confirm = await read(browser, f"/admin/disputes/{escrow_id}/confirm?buyer=90&slider=50&seen={seen}")
    assert "buyer 90 %, vendor 10 %" in confirm
    assert 'name="buyer" value="90"' in confirm


async def test_without_a_daemon_the_desk_says_why_nothing_can_be_ruled(world: World) -> None:
    escrow_id = await disputed(world)
    world.daemon.silent = True
    async with signed_in(world, "arbiter") as browser:
        page = await read(browser, f"/admin/disputes/{escrow_id}")
    assert "does not answer as it should" in page
    assert "Rule so" not in page


async def test_a_dispute_is_dismissed_with_a_reason(world: World) -> None:
    escrow_id = await disputed(world)
    async with signed_in(world, "arbiter") as browser:
        path, seen = f"/admin/disputes/{escrow_id}/dismiss", await seen_on(browser, escrow_id)
        assert (await send(browser, path, {"reason": "  ", "seen": seen})).status_code == 422
        assert (await send(browser, path, {"reason": "They agree.", "seen": seen})).status_code == 303
    assert await world.state_of(escrow_id) is State.FUNDED


async def test_a_ruling_is_not_carried_out_in_another_dispute_than_the_one_that_was_read(world: World) -> None:
    escrow_id = await disputed(world)
    async with signed_in(world, "arbiter") as browser:
        form = await confirmed(browser, escrow_id, "100")
        await is_dismissed_and_disputed_anew(world, escrow_id)
        answer = await send(browser, f"/admin/disputes/{escrow_id}/rule", form)
        assert answer.status_code == 409
        assert "not any more the one that you looked at" in answer.text
        again = await browser.get(f"/admin/disputes/{escrow_id}/confirm", params={"buyer": "100", "seen": form["seen"]})
        assert again.status_code == 409
    assert await world.state_of(escrow_id) is State.DISPUTED
    assert await world.store.read(lambda tx: tx.payouts.of(escrow_id)) == []


async def test_nothing_is_ruled_or_dismissed_over_what_a_party_has_said_meanwhile(world: World) -> None:
    escrow_id = await disputed(world)
    async with signed_in(world, "arbiter") as browser:
        form = await confirmed(browser, escrow_id, "100")
        await world.store.write(add_evidence(world.ctx, escrow_id, "shop:acme:1", Role.VENDOR, "Here is the receipt."))
        dismissal = {"reason": "They agree.", "seen": form["seen"]}
        for action, fields in (("rule", form), ("dismiss", dismissal)):
            answer = await send(browser, f"/admin/disputes/{escrow_id}/{action}", fields)
            assert answer.status_code == 409
            assert "More was said" in answer.text
        form = await confirmed(browser, escrow_id, "100")
        assert (await send(browser, f"/admin/disputes/{escrow_id}/rule", form)).status_code == 303


async def test_a_dismissal_ends_the_dispute_that_was_read_and_no_other(world: World) -> None:
    escrow_id = await disputed(world)
    async with signed_in(world, "arbiter") as browser:
        seen = await seen_on(browser, escrow_id)
        await is_dismissed_and_disputed_anew(world, escrow_id)
        for stale in (seen, "", "0-0"):
            fields = {"reason": "They agree.", "seen": stale}
            assert (await send(browser, f"/admin/disputes/{escrow_id}/dismiss", fields)).status_code == 409
    assert await world.state_of(escrow_id) is State.DISPUTED


async def test_evidence_is_on_the_desk_as_text(world: World) -> None:
    escrow_id = await disputed(world)
    async with world.client("shop") as shop:
        for party, text in (("buyer", "Empty <img src=x>\nbox"), ("vendor", "It weighed 2 kg.")):
            sent = await shop.post(f"/api/escrows/{escrow_id}/evidence", json={"party": party, "text": text})
            assert sent.status_code == 200, sent.text
    async with signed_in(world, "arbiter") as browser:
        page = await read(browser, f"/admin/disputes/{escrow_id}")
    assert "Empty &lt;img src=x&gt;\nbox" in page
    assert page.index("It weighed 2 kg.") > page.index("Empty")
