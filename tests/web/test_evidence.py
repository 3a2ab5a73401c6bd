"""What the parties of a dispute say: who may send and read it, how much, and what it may hold."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError
from sqlalchemy import update

from monero_escrow.core.life_cycle import State
from monero_escrow.escrows.evidence import LONGEST_TEXT, MOST_TEXTS
from monero_escrow.store import schema
from monero_escrow.store.audit_verify import verify
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.schemas import EvidenceTerms
from web.world import Coin, World, ascii_json, problem_of


async def tell(world: World, escrow_id: str, body: dict[str, Any], who: str = "shop", **more: Any) -> httpx2.Response:
    async with world.client(who) as client:
        return await client.post(f"/api/escrows/{escrow_id}/evidence", json=body, **more)


async def test_what_was_said_is_kept_in_its_words_and_order(world: World) -> None:
    escrow_id = await world.disputed()
    await tell(world, escrow_id, {"party": "buyer", "text": "  Empty.\r\nReally. 👩‍🔧  "})
    await tell(world, escrow_id, {"party": "vendor", "text": "Not so."})
    for who in ("shop", "arbiter", "operator"):
        async with world.client(who) as client:
            said = (await client.get(f"/api/escrows/{escrow_id}/evidence")).json()["evidence"]
        assert [(row["party"], row["text"]) for row in said] == [
            ("buyer", "Empty.\nReally. 👩‍🔧"),
            ("vendor", "Not so."),
        ]


async def test_the_history_tells_that_something_was_said_and_not_what(world: World) -> None:
    escrow_id = await world.disputed()
    answer = await tell(world, escrow_id, {"party": "buyer", "text": "My secret address"})
    entry = answer.json()["history"][-1]
    assert entry["action"] == "evidence"
    hashed = hashlib.blake2b(b"My secret address", digest_size=32).hexdigest()
    assert entry["detail"] == {"party": "buyer", "characters": 17, "text_hash": hashed}


async def test_what_was_said_cannot_be_exchanged_unseen(world: World) -> None:
    escrow_id = await world.disputed()
    await tell(world, escrow_id, {"party": "buyer", "text": "It was empty."})

    def troubles(tx: Transaction) -> list[str]:
        return [one.message for one in verify(tx, lambda _what, _done: None, escrow_id=escrow_id).troubles]

    before = await world.store.read(troubles)
    changed = update(schema.evidence).values(text="It was fine.")
    await world.store.write(lambda tx: tx.connection.execute(changed) and None)
    assert [one for one in await world.store.read(troubles) if one not in before] == [
        f"escrow {escrow_id}, row 2: what the buyer said then is not what the arbiter is shown: "
        "it was changed or removed."
    ]


async def test_only_the_escrows_shop_sends_and_only_who_may_see_it_reads(world: World) -> None:
    escrow_id = await world.disputed()
    body = {"party": "buyer", "text": "Empty."}
    problem_of(await tell(world, escrow_id, body, "other shop"), 404, "not_found")
    problem_of(await tell(world, escrow_id, body, "arbiter"), 403, "wrong_scope")
    async with world.client("other shop") as client:
        problem_of(await client.get(f"/api/escrows/{escrow_id}/evidence"), 404, "not_found")


async def test_there_is_nothing_to_say_without_a_dispute(world: World) -> None:
    escrow_id = await world.add_escrow(State.FUNDED, [Coin()])
    problem_of(await tell(world, escrow_id, {"party": "buyer", "text": "Empty."}), 409, "no_dispute")


async def test_a_party_speaks_so_often_and_no_more(world: World) -> None:
    escrow_id = await world.disputed()
    for number in range(MOST_TEXTS):
        assert (await tell(world, escrow_id, {"party": "buyer", "text": f"{number}"})).status_code == 200
    problem_of(await tell(world, escrow_id, {"party": "buyer", "text": "more"}), 409, "too_much_evidence")
    assert (await tell(world, escrow_id, {"party": "vendor", "text": "my word"})).status_code == 200


async def test_the_same_request_twice_is_said_once(world: World) -> None:
    escrow_id = await world.disputed()
    for _ in range(2):
        await tell(world, escrow_id, {"party": "buyer", "text": "Once."}, headers={"Idempotency-Key": "e-1"})
    assert len(await world.store.read(lambda tx: tx.evidence.of(escrow_id))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "x" * (LONGEST_TEXT + 1),
        "a\0b",
        "a\x1b[31mb",
        "turned \u202e round",
        "\ufeff",
        "a\tb",
        "a\u2028b\x07",
    ],
)
async def test_what_cannot_be_seen_or_is_too_much_is_refused(world: World, text: str) -> None:
    escrow_id = await world.disputed()
    problem_of(await tell(world, escrow_id, {"party": "buyer", "text": text}), 422, "invalid_input")
    assert await world.store.read(lambda tx: tx.evidence.of(escrow_id)) == []


async def test_half_a_character_and_an_unknown_party_are_refused(world: World) -> None:
    escrow_id = await world.disputed()
    async with world.client("shop") as client:
        path = f"/api/escrows/{escrow_id}/evidence"
        problem_of(await client.post(path, **ascii_json({"party": "buyer", "text": "\ud800"})), 422, "invalid_input")
        problem_of(await client.post(path, json={"party": "arbiter", "text": "x"}), 422, "invalid_input")


@pytest.mark.parametrize("text", [987_654_321, True, ["987654321"], None])
async def test_what_is_no_text_is_refused_and_not_repeated(world: World, text: object) -> None:
    body = {"party": "buyer", "text": text}
    answer = await tell(world, await world.disputed(), body)
    problem_of(answer, 422, "invalid_input")
    assert "987654321" not in answer.text
    with pytest.raises(ValidationError) as refused:
        EvidenceTerms.model_validate(body)
    assert "987654321" not in str(refused.value), "nor in a log"
