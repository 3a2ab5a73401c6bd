"""The operator's pages as a person sees them, in a real browser."""

from __future__ import annotations

import pytest
from playwright.async_api import expect
from sqlalchemy import update

from browser.conftest import Site, Window
from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import TRIO, Role
from monero_escrow.escrows import decide
from monero_escrow.escrows.evidence import add_evidence
from monero_escrow.escrows.held import hold
from monero_escrow.store.records import Scope
from monero_escrow.store.schema import audit, escrows
from unit.fake_service import CONFIRMATIONS, payout_is, reached

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

MANY = 10_000


async def test_a_wrong_key_is_told_so_and_the_right_one_opens_the_overview(window: Window) -> None:
    page = window.page
    await page.goto(f"{window.site.url}/admin")
    await window.is_usable_by_everybody()
    await window.picture("sign-in")
    await page.get_by_label("key").fill("me_operator_wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("This key is unknown, expired or revoked.")
    window.complaints.clear()  # the browser itself notes that the answer was a 403
    await page.get_by_label("key").fill(window.site.keys["operator"])
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Is money safe?")).to_be_visible()
    await window.is_usable_by_everybody()


async def test_a_set_up_is_watched_as_it_goes_through(window: Window, site: Site) -> None:
    await window.sign_in()
    page, pool = window.page, site.conductor.ctx.pool
    set_ups, awaited = page.locator("#figures"), page.locator("a[href='/admin/escrows?state=awaiting_deposit'] strong")
    async with pool.lease(TRIO, "work of somebody else", wait_seconds=5):
        escrow_id = await site.town.order(site.conductor)
        await expect(page.locator(".slot.leased")).to_have_count(3)
        await expect(page.locator("#board")).to_contain_text("work of somebody else")
        await expect(set_ups).to_contain_text("1 under way or waiting.")
        await window.picture("overview")
    await expect(awaited).to_have_text("1")
    await expect(page.locator(".slot.free")).to_have_count(3)
    await page.goto(f"{site.url}/admin/escrows/{escrow_id}")
    await expect(page.locator(".timeline")).to_contain_text("Make wallet")


async def test_an_escrows_story_goes_on_while_it_is_read(window: Window, site: Site) -> None:
    await window.sign_in()
    page, town = window.page, site.town
    escrow_id = await town.funded(site.conductor)
    await page.goto(f"{site.url}/admin/escrows/{escrow_id}")
    await expect(page.locator(".stages [aria-current]")).to_have_text("Funded")
    await site.conductor.ctx.store.write(await decide.release(site.conductor.ctx, escrow_id, "shop:test"))
    site.conductor.nudge(escrow_id)
    await expect(page.locator(".stages [aria-current]")).to_have_text("Paying out")
    await expect(page.locator(".payout")).to_contain_text("Release")
    await window.is_usable_by_everybody()
    await window.picture("escrow")


async def test_a_process_that_is_killed_is_seen_and_so_is_its_return(window: Window, site: Site) -> None:
    await window.sign_in()
    page, killed = window.page, site.processes[1]
    killed.kill()
    try:
        await site.town.order(site.conductor)
        await expect(page.locator(".slot.sick")).to_have_count(1)
        await expect(page.locator("#verdict")).to_contain_text("nothing can be set up until something is done")
        await window.is_usable_by_everybody()
        await window.picture("overview-sick")
    finally:
        killed.start()
        for slot in site.conductor.ctx.pool.sick_slots():  # sooner than the next look at it would be
            site.conductor.ctx.pool.mark_well(slot)
    await expect(page.locator(".slot.sick")).to_have_count(0)


async def test_the_fleet_is_shown_process_by_process(window: Window) -> None:
    await window.sign_in(wanted="/slots")
    page = window.page
    await expect(page.get_by_role("heading", name="Fleet")).to_be_visible()
    await expect(page.get_by_role("button", name="Drain buyer@")).to_have_count(1)
    await window.is_usable_by_everybody()
    await window.picture("fleet")


async def test_a_session_that_is_over_leads_back_to_the_sign_in(window: Window, site: Site) -> None:
    key_id, site.keys["leaver"] = await site.new_key(Scope.OPERATOR)
    await window.sign_in("leaver", "/escrows")
    now = site.conductor.ctx.clock.now()
    await site.conductor.ctx.store.write(lambda tx: tx.keys.revoke(key_id, now))
    await expect(window.page.get_by_role("alert")).to_have_text("Your session is over. Sign in again.")


async def test_signing_out(window: Window) -> None:
    await window.sign_in()
    await window.page.get_by_role("button", name="Sign out").click()
    await expect(window.page.get_by_role("heading", name="Sign in")).to_be_visible()
    await window.page.go_back()
    await expect(window.page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_a_dispute_is_ruled_by_hand(window: Window, site: Site) -> None:
    ctx, page = site.conductor.ctx, window.page
    escrow_id = await site.town.funded(site.conductor)
    await ctx.store.write(decide.dispute(ctx, escrow_id, "shop:test", "The parcel was empty."))
    says = {Role.BUYER: "It rattled and was <b>empty</b>.", Role.VENDOR: "It weighed two kilograms at the post office."}
    for party, text in says.items():
        await ctx.store.write(add_evidence(ctx, escrow_id, "shop:test", party, text))
    await window.sign_in("arbiter")
    await expect(page.get_by_role("heading", name="Disputes")).to_be_visible()
    await window.picture("disputes")
    await page.locator("tbody a").click()
    await expect(page.locator(".evidence.buyer")).to_contain_text(says[Role.BUYER])
    await page.get_by_label("Buyer, per cent").fill("33.333")
    await expect(page.locator("#buyer-trouble")).to_have_text("A number from 0 to 100, at most two decimals.")
    await expect(page.get_by_role("button", name="Rule so")).to_have_count(0)
    await page.get_by_label("Buyer, per cent").fill("62.5")
    await expect(page.locator(".shares")).to_contain_text("Buyer 62.5 %, vendor 37.5 %")
    await expect(page.get_by_label("Buyer's share")).to_have_value("62.5")
    await page.get_by_label("Buyer's share").focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.locator(".shares")).to_contain_text("Buyer 63 %")
    await expect(page.get_by_label("Buyer, per cent")).to_have_value("63")
    await window.is_usable_by_everybody()
    await window.picture("dispute")
    await page.reload()  # axe leaves styles on what it looked at, which the page's policy forbids to be put in anew
    await page.get_by_label("Buyer, per cent").fill("90")  # and at once, before the page has asked for that
    await page.get_by_role("button", name="Rule so").click()
    await expect(page.get_by_role("heading", name="Confirm the ruling")).to_be_visible()
    await expect(page.locator(".notice.warning")).to_contain_text("buyer 90 %, vendor 10 %")
    await window.is_usable_by_everybody()
    await window.picture("confirm")
    await page.get_by_role("button", name="Sign this payout").click()
    await expect(page.locator(".payout")).to_contain_text("Ruling")
    await payout_is(site.conductor, escrow_id, "broadcast")
    await site.town.chain.mine(CONFIRMATIONS)
    await expect(page.locator(".stages [aria-current]")).to_have_text("Settled")
    await page.get_by_role("button", name="Sign out").click()
    await the_ruling_is_in_the_trail(window, escrow_id)


async def the_ruling_is_in_the_trail(window: Window, escrow_id: str) -> None:
    """An operator goes from the escrow to its rows, finds who ruled, and has the trail verified."""
    page = window.page
    await window.sign_in(wanted=f"/escrows/{escrow_id}")
    await page.get_by_role("link", name="Its rows in the audit trail").click()
    ruled = page.locator("tbody tr", has_text="The arbiter ruled → paying out")
    await expect(ruled).to_contain_text("arbiter:Judge:")
    await expect(ruled).to_contain_text("127.0.0.1")
    await page.get_by_role("button", name="Verify this escrow's rows").click()
    await expect(page.get_by_text("This escrow's trail is whole.")).to_be_visible()
    await page.get_by_role("button", name="Verify the whole trail").click()
    await expect(page.get_by_text("The trail is whole.")).to_be_visible()
    await window.is_usable_by_everybody()
    await window.picture("audit")


async def test_a_row_that_somebody_changed_is_named_and_leads_to_its_escrow(window: Window, site: Site) -> None:
    page, store = window.page, site.conductor.ctx.store
    escrow_id = await site.town.order(site.conductor)
    changed = update(audit).where(audit.c.escrow_id == escrow_id, audit.c.seq == 1)
    await store.write(lambda tx: tx.connection.execute(changed.values(actor="nobody")))
    try:
        await window.sign_in(wanted="/audit")
        await page.get_by_role("button", name="Verify the whole trail").click()
        await expect(page.get_by_text("The trail is not whole: 1 thing to look at.")).to_be_visible()
        await window.is_usable_by_everybody()
        await window.picture("audit-not-whole")
        await page.get_by_role("link", name=f"escrow {escrow_id}, row 1: is not as the service wrote it.").click()
        await expect(page.locator("tbody tr", has_text="The shop opened the escrow")).to_contain_text("nobody")
    finally:
        await store.write(lambda tx: tx.connection.execute(changed.values(actor="shop:test")))


async def test_a_held_payout_is_resumed_by_hand(window: Window, site: Site) -> None:
    ctx, page = site.conductor.ctx, window.page
    escrow_id = await site.town.funded(site.conductor)
    async with ctx.pool.lease(TRIO, "work of somebody else", wait_seconds=5):  # so that the payout waits
        await ctx.store.write(await decide.release(ctx, escrow_id, "shop:test"))
        (payout,) = await ctx.store.read(lambda tx: tx.payouts.of(escrow_id))
        await ctx.store.write(lambda tx: hold(tx, payout.id, "The disk was full.", ctx.clock.now()))
        await window.sign_in(wanted=f"/escrows/{escrow_id}")
        await window.is_usable_by_everybody()
        await window.picture("escrow-held")
        await page.get_by_role("link", name="Resume").click()
        await expect(page.get_by_text("What must be true:")).to_be_visible()
        await window.is_usable_by_everybody()
        await window.picture("confirm-held")
        await page.get_by_role("button", name="Resume payout 1").click()
        await expect(page.get_by_text("Payout resumed")).to_be_visible()
    await payout_is(site.conductor, escrow_id, "broadcast")


async def test_ten_thousand_escrows_are_searched_by_keyboard(window: Window, site: Site) -> None:
    store = site.conductor.ctx.store
    escrow_id = await site.town.order(site.conductor)
    await reached(site.conductor, escrow_id, State.AWAITING_DEPOSIT)
    row = await store.read(
        lambda tx: tx.connection.execute(escrows.select().where(escrows.c.id == escrow_id)).mappings().one()
    )
    more = {"deposit_address": None, "trio_id": None, "due_at": None, "state": "settled"}
    copies = [
        {**row, **more, "id": f"{n:024x}", "order_id": f"parcel-{n}", "created_at": row["created_at"] - n}
        for n in range(MANY)
    ]
    await store.write(lambda tx: tx.connection.execute(escrows.insert(), copies))
    await window.sign_in(wanted="/escrows")
    page = window.page
    await expect(page.locator("tbody tr")).to_have_count(50)
    await window.is_usable_by_everybody()
    await window.picture("escrows")
    await page.get_by_role("link", name="Older ones").click()
    await expect(page.locator("tbody tr")).to_have_count(50)
    await page.get_by_label("Begins with").press_sequentially("parcel-9999")
    await expect(page.locator("tbody tr")).to_have_count(1)
    await page.locator("tbody a").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Order parcel-9999")).to_be_visible()
