"""Bad input: each gets a clear problem, changes nothing, and is not repeated in the answer."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from monero_escrow.core.address import AddressKind, Network
from monero_escrow.core.life_cycle import State
from web.world import Coin, World, address, ascii_json, order_body, problem_of

PATH = "/api/orders/order-1/init-escrow"
ORIGINAL_EXAMPLE = "9sCrDesy9LK11111111111111111111111111111111118YcC9Gacso6vvEkES46JsBqWdhFAZxqAPkzB6E89FYP8h4p53e"


async def nothing_was_made(world: World) -> bool:
    return await world.store.read(lambda tx: tx.escrows.counts()) == {}


# --- amounts ---------------------------------------------------------------------------------------------------------

BAD_AMOUNTS: dict[str, Any] = {
    "zero": "0",
    "zero with decimals": "0.000000000000",
    "negative": "-1",
    "over the supply": "18446744.073709551616",
    "more than any order": "9000001",
    "13 decimals": "1.0000000000001",
    "dust": "0.001",
    "empty": "",
    "exponent": "1e3",
    "comma": "1,25",
    "spaces": " 1.25",
    "other digits": "١",
    "endless": "1" * 10_000,
    "a float": 1.25,
    "an integer": 1,
    "a truth": True,
    "a list": ["1.25"],
    "nothing at all": False,
}


@pytest.mark.parametrize("name", BAD_AMOUNTS)
async def test_an_amount_that_cannot_be_paid_is_refused(world: World, name: str) -> None:
    async with world.client() as client:
        problem_of(await client.post(PATH, json=order_body(amount=BAD_AMOUNTS[name])), 422, "invalid_amount")
    assert await nothing_was_made(world)


async def test_a_float_is_refused_with_a_sentence_that_says_what_is_wanted(world: World) -> None:
    async with world.client() as client:
        body = problem_of(await client.post(PATH, json=order_body(amount=1.25)), 422, "invalid_amount")
    assert "decimal string" in body["detail"]
    assert '"1.25"' in body["what_to_do"]


# --- addresses -------------------------------------------------------------------------------------------------------

GOOD = address("buyer")
BAD_ADDRESSES: dict[str, tuple[str, str]] = {
    "of mainnet": (address("buyer", Network.MAINNET), "invalid_address"),
    "of testnet": (address("buyer", Network.TESTNET), "invalid_address"),
    "integrated": (address("buyer", kind=AddressKind.INTEGRATED), "invalid_input"),
    "one character changed": (GOOD[:40] + ("2" if GOOD[40] != "2" else "3") + GOOD[41:], "invalid_address"),
    "truncated": (GOOD[:-1], "invalid_address"),
    "the identity as spend key": (ORIGINAL_EXAMPLE, "invalid_address"),
    "empty": ("", "invalid_address"),
    "not an address": ("hello", "invalid_address"),
    "a lone surrogate": ("\ud800" * 95, "invalid_address"),
}


@pytest.mark.parametrize("field", ["buyer_refund_address", "vendor_payout_address", "commission"])
@pytest.mark.parametrize("name", BAD_ADDRESSES)
async def test_an_address_that_cannot_be_paid_is_refused_and_not_repeated(world: World, name: str, field: str) -> None:
    bad, code = BAD_ADDRESSES[name]
    body = order_body(**{field: {"address": bad, "parts": 250} if field == "commission" else bad})
    async with world.client() as client:
        answer = await client.post(PATH, **ascii_json(body))
    problem_of(answer, 422, code)
    assert len(bad) < 10 or bad not in answer.text
    assert await nothing_was_made(world)


async def test_a_deposit_address_of_the_service_is_never_a_recipient(world: World) -> None:
    escrow_id = await world.add_escrow(State.AWAITING_DEPOSIT)
    own = address(escrow_id)
    async with world.client() as client:
        for field in ("buyer_refund_address", "vendor_payout_address"):
            answer = await client.post(PATH, json=order_body(**{field: own}))
            problem_of(answer, 422, "invalid_input")
            assert own not in answer.text
        answer = await client.post(PATH, json=order_body(commission={"address": own, "parts": 1}))
        problem_of(answer, 422, "invalid_input")
    assert await world.store.read(lambda tx: tx.escrows.counts()) == {State.AWAITING_DEPOSIT: 1}


# --- order ids -------------------------------------------------------------------------------------------------------

BAD_ORDER_IDS = {
    "a slash": "a/b",
    "only a slash": "/",
    "two dots and slashes": "x/../../etc",
    "a line break": "a\nb",
    "a zero byte": "a\0b",
    "an escape": "\x1b[31m",
    "a delete": "a\x7f",
    "10 kB": "a" * 10_000,
    "129 characters": "a" * 129,
    "a space": "a b",
    "other letters": "заказ",
    "right to left": "a\u202eb",
    "a quote": "a'b",
    "a leading dot": ".a",
}


@pytest.mark.parametrize("name", BAD_ORDER_IDS)
async def test_an_order_id_that_is_none_is_refused_and_not_repeated(world: World, name: str) -> None:
    order_id = BAD_ORDER_IDS[name]
    async with world.client() as client:
        answer = await client.post(f"/api/orders/{quote(order_id, safe='')}/init-escrow", json=order_body())
    problem_of(answer, 422, "invalid_order_id")
    assert len(order_id) < 100 or order_id not in answer.text
    assert await nothing_was_made(world)


async def test_an_order_id_that_is_no_text_at_all_is_refused(world: World) -> None:
    async with world.client() as client:
        answer = await client.post("/api/orders/%ff%fe/init-escrow", json=order_body())
    problem_of(answer, 422, "invalid_order_id")


async def test_an_empty_order_id_is_refused(world: World) -> None:
    async with world.client() as client:
        problem_of(await client.post("/api/orders//init-escrow", json=order_body()), 422, "invalid_order_id")


@pytest.mark.parametrize("order_id", ["1", "A-1_2.3:4@5+6=7~8", "z" * 128])
async def test_an_order_id_of_the_allowed_characters_is_taken(world: World, order_id: str) -> None:
    async with world.client() as client:
        answer = await client.post(f"/api/orders/{quote(order_id, safe='')}/init-escrow", json=order_body())
    assert answer.status_code == 201
    assert answer.json()["order_id"] == order_id


# --- shapes ----------------------------------------------------------------------------------------------------------

BAD_BODIES: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown field": (order_body(buyer_adress="x"), "buyer_adress"),
    "a missing field": (order_body(vendor_payout_address=None), "vendor_payout_address"),
    "a number for an address": (order_body(buyer_refund_address=5), "buyer_refund_address"),
    "an unknown fee bearer": (order_body(fee_bearer="arbiter"), "fee_bearer"),
    "a commission without an address": (order_body(commission={"parts": 5}), "commission.address"),
    "no commission": (order_body(commission={"address": GOOD, "parts": 0}), "commission.parts"),
    "a whole commission": (order_body(commission={"address": GOOD, "parts": 10_000}), "commission.parts"),
    "a fraction of a part": (order_body(commission={"address": GOOD, "parts": 2.5}), "commission.parts"),
    "too short a time": (order_body(deposit_window_seconds=59), "deposit_window_seconds"),
    "too long a time": (order_body(deposit_window_seconds=31_536_001), "deposit_window_seconds"),
    "a time in words": (order_body(deposit_window_seconds="600"), "deposit_window_seconds"),
    "a truth for a time": (order_body(deposit_window_seconds=True), "deposit_window_seconds"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_a_body_of_another_shape_is_refused_by_the_name_of_the_field(world: World, name: str) -> None:
    body, field = BAD_BODIES[name]
    async with world.client() as client:
        problem = problem_of(await client.post(PATH, json=body), 422, "invalid_input")
    assert [error["field"] for error in problem["errors"]] == [field]
    assert await nothing_was_made(world)


MALFORMED = {
    "no body": b"",
    "half a body": b'{"amount": "1',
    "no JSON": b"amount=1.25",
    "a list": b"[]",
    "a null": b"null",
    "a string": b'"1.25"',
    "not a number": b'{"amount": NaN}',
    "bytes": b"\xff\xfe\x00",
    "nested without end": b"[" * 60_000,
    "a number without end": b'{"amount": ' + b"9" * 60_000 + b"}",
    "an object in every field": b'{"amount":{},"buyer_refund_address":{},"vendor_payout_address":{}}',
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_body_is_a_problem_and_never_a_fault_of_ours(world: World, name: str) -> None:
    async with world.client() as client:
        answer = await client.post(PATH, content=MALFORMED[name], headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    problem_of(answer, answer.status_code, answer.json()["code"])
    assert answer.json()["code"] in ("malformed_request", "invalid_input", "invalid_amount")
    assert await nothing_was_made(world)


async def test_a_body_that_is_not_sent_as_json_is_told_so(world: World) -> None:
    async with world.client() as client:
        answer = await client.post(PATH, content=b"{}", headers={"Content-Type": "text/plain"})
    problem = problem_of(answer, 422, "invalid_input")
    assert "Content-Type: application/json" in problem["detail"]


async def test_the_name_of_an_unknown_field_is_not_repeated_if_it_may_be_a_secret(world: World) -> None:
    async with world.client() as client:
        for secret in (world.keys["shop"], address("buyer"), "00ff" * 16, "Password"):
            answer = await client.post(PATH, json=order_body(**{secret: "x"}))
            problem = problem_of(answer, 422, "invalid_input")
            assert secret not in answer.text
            assert [error["field"] for error in problem["errors"]] == ["(unknown)"]


# --- decisions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shares", "code"),
    [
        ({"buyer_share": 3000, "vendor_share": 6999}, "invalid_shares"),
        ({"buyer_share": 10_000, "vendor_share": 10_000}, "invalid_shares"),
        ({"buyer_share": 0, "vendor_share": 0}, "invalid_shares"),
        ({"buyer_share": -1, "vendor_share": 10_001}, "invalid_input"),
        ({"buyer_share": "3000", "vendor_share": "7000"}, "invalid_input"),
        ({"buyer_share": 3000.0, "vendor_share": 7000.0}, "invalid_input"),
        ({"buyer_share": True, "vendor_share": 9999}, "invalid_input"),
        ({"buyer_share": 3000}, "invalid_input"),
        ({"buyer_share": 10**30, "vendor_share": 0}, "invalid_input"),
    ],
)
async def test_shares_that_do_not_make_a_whole_are_refused(world: World, shares: dict[str, Any], code: str) -> None:
    escrow_id = await world.add_escrow(State.DISPUTED, (Coin(),))
    async with world.client("arbiter") as client:
        problem_of(await client.post(f"/api/escrows/{escrow_id}/ruling", json=shares), 422, code)
    assert await world.state_of(escrow_id) is State.DISPUTED


@pytest.mark.parametrize("reason", ["", "   ", "a\0b", "a\nb", "x" * 2001, "\ud800", 5, None])
async def test_a_dispute_needs_a_readable_reason(world: World, reason: object) -> None:
    escrow_id = await world.add_escrow(State.FUNDED, (Coin(),))
    async with world.client() as client:
        answer = await client.post(f"/api/escrows/{escrow_id}/dispute", **ascii_json({"reason": reason}))
    problem_of(answer, 422, "invalid_input")
    assert await world.state_of(escrow_id) is State.FUNDED


@pytest.mark.parametrize(
    ("deadline", "code"),
    [
        ("2020-01-01T00:00:00Z", "deadline_not_later"),
        ("0001-01-01T00:00:00+23:59", "deadline_not_later"),
        ("9999-12-31T23:59:59-23:59", "deadline_not_later"),
        ("2030-01-01T00:00:00", "invalid_input"),
        ("2030-01-01", "invalid_input"),
        ("tomorrow", "invalid_input"),
        ("1900000000", "invalid_input"),
        (1_900_000_000, "invalid_input"),
        ("2030-13-01T00:00:00Z", "invalid_input"),
        ("٢٠٣٠-01-01T00:00:00Z", "invalid_input"),
        (None, "invalid_input"),
    ],
)
async def test_a_deadline_is_a_later_time_with_an_offset(world: World, deadline: object, code: str) -> None:
    escrow_id = await world.add_escrow(State.AWAITING_DEPOSIT)
    before = await world.store.read(lambda tx: tx.escrows.get(escrow_id))
    async with world.client() as client:
        problem_of(await client.post(f"/api/escrows/{escrow_id}/extend", json={"deadline": deadline}), 422, code)
    assert await world.store.read(lambda tx: tx.escrows.get(escrow_id)) == before


async def test_an_action_without_terms_takes_none(world: World) -> None:
    escrow_id = await world.add_escrow(State.FUNDED, (Coin(),))
    async with world.client() as client:
        answer = await client.post(f"/api/escrows/{escrow_id}/release", json={"amount": "1"})
        problem_of(answer, 422, "invalid_input")
        assert await world.state_of(escrow_id) is State.FUNDED
        assert (await client.post(f"/api/escrows/{escrow_id}/release")).status_code == 200


@pytest.mark.parametrize("escrow_id", ["f" * 24, "x", "a" * 10_000, "%00", "..%2f..", "%ff", "'; drop table escrows"])
async def test_an_unknown_escrow_is_not_found_and_not_repeated(world: World, escrow_id: str) -> None:
    async with world.client() as client:
        for answer in (
            await client.get(f"/api/escrows/{escrow_id}"),
            await client.post(f"/api/escrows/{escrow_id}/release"),
        ):
            assert answer.status_code == 404
            problem_of(answer, 404, answer.json()["code"])
            assert len(escrow_id) < 5 or escrow_id not in answer.text


async def test_paths_and_methods_that_there_are_not_are_problems_too(world: World) -> None:
    async with world.client() as client:
        problem_of(await client.get("/nothing/here"), 404, "no_such_endpoint")
        problem_of(await client.get("/api/escrows/"), 404, "no_such_endpoint")
        answer = await client.delete("/api/escrows")
        problem_of(answer, 405, "method_not_allowed")
        assert "GET" in answer.headers["allow"]
