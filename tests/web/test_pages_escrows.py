"""The list of escrows and each escrow's story: what is found, what is told, and what odd searches do."""

from __future__ import annotations

import re
import time
from html import unescape

import pytest

from monero_escrow.core.life_cycle import Event, State
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.escrows import decide
from monero_escrow.escrows.evidence import add_evidence
from monero_escrow.escrows.held import hold
from monero_escrow.store.schema import escrows
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.access import ACTIONS, path_of
from monero_escrow.web.pages.held_choices import CHOICES
from monero_escrow.web.pages.meanings import ACTIONS_NOW, EVENTS
from web.page_visits import read, signed_in
from web.world import XMR, Coin, World

MANY = 10_000


async def found(world: World, query: str) -> list[str]:
    """The ids of the escrows that a page of the list shows."""
    async with signed_in(world) as browser:
        return ids_on(await read(browser, f"/admin/escrows?{query}"))


def ids_on(page: str) -> list[str]:
    return re.findall(r'id="of-([0-9a-f]{24})"', page)


async def test_an_empty_list_says_how_it_fills(world: World) -> None:
    async with signed_in(world) as browser:
        assert "There are no escrows yet." in await read(browser, "/admin/escrows")
        assert "No escrow is like that." in await read(browser, "/admin/escrows?q=nothing")


async def test_an_escrow_is_found_by_the_beginning_of_whatever_names_it(world: World) -> None:
    wanted, _ = await world.add_escrow(State.FUNDED, [Coin()]), await world.add_escrow(State.FUNDED, [Coin()])
    escrow = await world.store.read(lambda tx: tx.escrows.get(wanted))
    (coin,) = await world.store.read(lambda tx: tx.outputs.of(wanted))
    await world.store.write(await decide.refund(world.ctx, wanted, "shop"))
    (payout,) = await world.store.read(lambda tx: tx.payouts.of(wanted))
    await world.store.write(lambda tx: tx.payouts._change(payout.id, txid="ab" * 32))
    assert escrow.deposit_address is not None
    for text in (wanted[:9], escrow.order_id[:16], escrow.deposit_address[:30], coin.txid[:12], "abab", f" {wanted} "):
        assert await found(world, f"q={text}") == [wanted], text


async def test_the_list_is_of_one_state_if_so_wished(world: World) -> None:
    short, _ = await world.add_escrow(State.SHORT), await world.add_escrow(State.FUNDED)
    assert await found(world, "state=short") == [short]


@pytest.mark.parametrize(
    "text",
    [
        "%", "_", "order_%", "\\", "'", "'; DROP TABLE escrows; --", '" OR 1=1', "%00", "\x00",
        "<script>alert(1)</script>", "{{ 7*7 }}", "\u202e", "é",
    ],
)  # fmt: skip
async def test_nothing_in_a_search_has_a_meaning_of_its_own(world: World, text: str) -> None:
    await world.add_escrow(State.FUNDED)
    async with signed_in(world) as browser:
        answer = await browser.get("/admin/escrows", params={"q": text})
        assert answer.status_code == 200
        assert ids_on(answer.text) == []
        assert "<script>alert" not in answer.text
        assert len(ids_on(await read(browser, "/admin/escrows"))) == 1


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("q=" + "x" * 10_000, "A search takes at most 200 characters."),
        ("cursor=made-up", "The cursor is none that this service gave."),
        ("cursor=" + "A" * 5_000, "The cursor is none that this service gave."),
        ("state=lost", "names a state that there is not"),
    ],
)
async def test_what_the_list_cannot_do_is_told(world: World, query: str, told: str) -> None:
    async with signed_in(world) as browser:
        assert told in await read(browser, f"/admin/escrows?{query}", status=422)


async def test_ten_thousand_escrows_are_paged_through_without_one_missing_or_twice(world: World) -> None:
    first = await world.add_escrow(State.FUNDED)
    row = await world.store.read(lambda tx: tx.connection.execute(escrows.select()).mappings().one())
    copies = [
        {**row, "id": f"{n:024x}", "order_id": f"order-{n}", "deposit_address": None, "trio_id": None,
         "created_at": row["created_at"] - 1 - n // 3}
        for n in range(MANY - 1)
    ]  # fmt: skip
    await world.store.write(lambda tx: tx.connection.execute(escrows.insert(), copies))
    seen: list[str] = []
    async with signed_in(world) as browser:
        path: str | None = "/admin/escrows"
        slowest = 0.0
        while path is not None and len(seen) < 500:
            began = time.perf_counter()
            page = await read(browser, path)
            slowest = max(slowest, time.perf_counter() - began)
            seen += ids_on(page)
            older = re.search(r'id="further" href="([^"]+)"', page)
            path = unescape(older[1]) if older else None
        last = await read(browser, "/admin/escrows?q=order-9998")
        overview = await read(browser, "/admin")
    assert seen[0] == first
    assert len(seen) == len(set(seen)) == 500
    assert ids_on(last) == [f"{9998:024x}"]
    assert "<strong>10000</strong> Funded" in overview
    assert slowest < 2.0


async def test_a_story_tells_what_happened_what_it_waits_for_and_what_one_can_do(world: World) -> None:
    escrow_id = await world.add_escrow(State.FUNDED, [Coin(2 * XMR)])
    dispute = decide.dispute(world.ctx, escrow_id, "shop:acme:1", "The <b>parcel</b> is empty.")
    await world.store.write(dispute)
    async with signed_in(world) as browser:
        page = await read(browser, f"/admin/escrows/{escrow_id}")
    assert "Waits for: The arbiter: rule, or dismiss the dispute." in page
    assert "<b>The shop asked the arbiter → disputed</b>" in page
    assert "The &lt;b&gt;parcel&lt;/b&gt; is empty." in page
    assert "The arbiter can:" in page
    assert "<b>Rule</b>: split everything that came between buyer and vendor" in page
    assert "<b>Dismiss</b>: no ruling is needed, and the shop decides again" in page
    assert "<code>ruling</code>" not in page
    assert "2 XMR" in page
    assert '<li class="here" aria-current="step">Disputed</li>' in page


async def test_a_story_shows_a_payout_to_the_piconero_and_why_it_is_held(world: World) -> None:
    escrow_id = await world.add_escrow(State.FUNDED, [Coin(2 * XMR + 1)])
    await world.store.write(await decide.release(world.ctx, escrow_id, "shop:acme:1"))
    (payout,) = await world.store.read(lambda tx: tx.payouts.of(escrow_id))
    await world.store.write(lambda tx: hold(tx, payout.id, "Look at it.", world.clock.now()))
    async with signed_in(world) as browser:
        page = await read(browser, f"/admin/escrows/{escrow_id}")
    assert re.search(r"<dt>Vendor</dt><dd>1\.25 XMR before the network fee", page)
    assert re.search(r"<dt>Buyer</dt><dd>0\.750000000001 XMR before the network fee", page)
    assert "The operator: payout 1 is held. Look at it." in page
    assert "The operator, about the held payout, can:" in page
    assert "<b>Resume</b>: goes on where it stopped" in page


async def test_a_ruling_is_told_in_per_cent_and_by_whom_it_is_for(world: World) -> None:
    escrow_id = await world.add_escrow(State.DISPUTED, [Coin(2 * XMR)], disputed=True)
    await world.store.write(await decide.ruling(world.ctx, escrow_id, "arbiter:ann:1", 6_000, 4_000))
    (payout,) = await world.store.read(lambda tx: tx.payouts.of(escrow_id))
    async with signed_in(world) as browser:
        page = await read(browser, f"/admin/escrows/{escrow_id}")
        assert "buyer 60 %, vendor 40 %" in page
        assert "of 10,000" not in page
        signed = {"fee_piconero": 1_000, "shared_fee_piconero": 1_000, "txid": "ab" * 32}
        await world.store.write(lambda tx: tx.payouts._change(payout.id, **signed))
        page = await read(browser, f"/admin/escrows/{escrow_id}")
    assert "<dt>Buyer</dt><dd>1.1999999994 XMR<br>" in page
    assert "before the network fee" not in page


async def test_a_settled_payout_and_evidence_are_told_in_plain_words(world: World) -> None:
    escrow_id = await world.add_escrow(State.DISPUTED, [Coin()], disputed=True)
    await world.store.write(add_evidence(world.ctx, escrow_id, "shop:acme:1", Role.VENDOR, "x" * 55))

    def settle(tx: Transaction) -> None:
        now = world.clock.now()
        tx.audit.add("service", "payout_settled", now, escrow_id=escrow_id, from_state="paying_out", to_state="settled")

    await world.store.write(settle)
    async with signed_in(world) as browser:
        page = await read(browser, f"/admin/escrows/{escrow_id}")
    assert "<b>The payout is settled</b>" in page
    assert "<b>The vendor said something, for the arbiter to read</b>" in page
    assert "55 characters" in page
    assert "Party vendor" not in page


def test_every_event_and_every_action_is_told_in_words() -> None:
    assert set(EVENTS) == set(Event)
    assert set(ACTIONS_NOW) == {path_of(event) for event in ACTIONS} | {choice.name for choice in CHOICES}


async def test_steps_of_the_journal_are_in_the_story_one_line_a_round(world: World) -> None:
    escrow_id, now = await world.add_escrow(State.SETTING_UP), world.clock.now()

    def steps(tx: Transaction) -> None:
        for role in ROLES:
            row = tx.journal.intend(
                escrow_id=escrow_id, subject_id="trio", name="make wallet", role=role, slot=f"{role}@x", now=now
            )
            tx.journal.end(row, "ok", now + 1.5)
        tx.journal.intend(escrow_id=escrow_id, subject_id="trio", name="gate", role=None, slot=None, now=now + 2)

    await world.store.write(steps)
    async with signed_in(world) as browser:
        page = await read(browser, f"/admin/escrows/{escrow_id}")
    assert page.count("<b>Make wallet</b>") == 1
    assert "buyer, vendor, arbiter, 2 s" in page
    assert "No result is recorded" in page


async def test_an_arbiter_sees_disputed_escrows_only_and_no_list(world: World) -> None:
    mine, other = await world.add_escrow(State.DISPUTED, [Coin()], disputed=True), await world.add_escrow(State.FUNDED)
    async with signed_in(world, "arbiter") as browser:
        assert "Disputed" in await read(browser, f"/admin/escrows/{mine}")
        assert "There is no such escrow." in await read(browser, f"/admin/escrows/{other}", status=404)
        assert "This page is for operators." in await read(browser, "/admin/escrows", status=403)


@pytest.mark.parametrize("escrow_id", ["nothing", "x" * 2_000, "%00", "..%2f"])
async def test_an_escrow_that_is_not_there_is_told_so(world: World, escrow_id: str) -> None:
    async with signed_in(world) as browser:
        answer = await browser.get(f"/admin/escrows/{escrow_id}")
    assert answer.status_code in (404, 422)
    assert "traceback" not in answer.text.lower()
