"""init-escrow: made, known again, refused with other terms, and 202 when the address takes longer."""

from __future__ import annotations

import asyncio

from monero_escrow.config import Settings
from monero_escrow.core.life_cycle import State
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.web.app import create_app
from web.world import NETWORK, World, address, order_body, problem_of

PATH = "/api/orders/order-1001/init-escrow"


async def test_an_order_gets_its_escrow_with_the_deposit_address(world: World) -> None:
    async with world.client() as client:
        answer = await client.post(PATH, json=order_body())
        assert answer.status_code == 201
        escrow = answer.json()
        assert answer.headers["location"] == f"/api/escrows/{escrow['escrow_id']}"
        assert escrow["order_id"] == "order-1001"
        assert escrow["state"] == "awaiting_deposit"
        assert (escrow["amount"], escrow["amount_piconero"]) == ("1.25", "1250000000000")
        assert escrow["deposit_address"] == address(escrow["escrow_id"])
        assert escrow["payment_uri"] == f"monero:{escrow['deposit_address']}?tx_amount=1.25"
        assert escrow["deposit_deadline"].endswith("Z")
        assert (escrow["coverage"], escrow["missing_piconero"]) == ("nothing", "1250000000000")
        assert escrow["actions"] == ["extend", "cancel"]
        assert (await client.get(answer.headers["location"])).json() == escrow


async def test_the_same_order_again_is_the_same_escrow(world: World) -> None:
    async with world.client() as client:
        first = await client.post(PATH, json=order_body())
        again = await client.post(PATH, json=order_body())
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json() == again.json()


async def test_the_same_order_with_other_terms_is_refused(world: World) -> None:
    async with world.client() as client:
        await client.post(PATH, json=order_body())
        for other in ({"amount": "1.26"}, {"fee_bearer": "buyer"}, {"vendor_payout_address": address("other")}):
            problem_of(await client.post(PATH, json=order_body(**other)), 409, "order_exists")


async def test_order_ids_are_each_shops_own(world: World) -> None:
    answers = []
    for shop in ("shop", "other shop"):
        async with world.client(shop) as client:
            answers.append(await client.post(PATH, json=order_body()))
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["escrow_id"] != answers[1].json()["escrow_id"]


async def test_ten_requests_for_one_order_at_once_make_one_escrow(world: World) -> None:
    async with world.client() as client:
        answers = await asyncio.gather(*(client.post(PATH, json=order_body()) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201]
    assert len({answer.json()["escrow_id"] for answer in answers}) == 1
    assert await world.store.read(lambda tx: tx.escrows.counts()) == {State.AWAITING_DEPOSIT: 1}


async def test_respond_async_answers_at_once(world: World) -> None:
    async with world.client() as client:
        for prefer in ("respond-async", "handling=lenient, Respond-Async; x=1"):
            answer = await client.post(PATH, json=order_body(), headers={"Prefer": prefer})
            assert answer.status_code == 202
            assert answer.headers["preference-applied"] == "respond-async"
            assert int(answer.headers["retry-after"]) > 0
            assert answer.json()["state"] == "setting_up"
            assert answer.json()["deposit_address"] is None
            assert answer.json()["payment_uri"] is None
            assert answer.headers["location"] == f"/api/escrows/{answer.json()['escrow_id']}"


async def test_an_unknown_preference_is_ignored(world: World) -> None:
    async with world.client() as client:
        answer = await client.post(PATH, json=order_body(), headers={"Prefer": "respond-asynchronously"})
        assert answer.status_code == 201


async def test_a_set_up_that_takes_too_long_is_answered_202_and_kept(world: World) -> None:
    world.conductor.set_ups = False
    async with world.client() as client:
        answer = await client.post(PATH, json=order_body())
        assert answer.status_code == 202
        world.conductor.set_ups = True
        assert (await client.post(PATH, json=order_body())).status_code == 200


async def test_without_any_wallet_process_the_answer_is_503_and_the_order_is_kept_with_its_trouble(
    world: World,
) -> None:
    settings = Settings(_env_file=None, monero_network=NETWORK, request_wait_seconds=0.05)
    lonely = World(settings, world.store, slots=0)
    conductor = Conductor(lonely.ctx)
    running = asyncio.create_task(conductor.run())
    try:
        async with world.client(app=create_app(conductor)) as client, asyncio.timeout(30):
            answer = await client.post(PATH, json=order_body())
            problem = problem_of(answer, 503, "no_slot_free")
            assert int(answer.headers["retry-after"]) > 0
            soon = {"Prefer": "respond-async"}
            while (answer := await client.post(PATH, json=order_body(), headers=soon)).json()["trouble"] is None:
                pass
        assert answer.status_code == 202
        assert answer.json()["escrow_id"] in problem["detail"]
        assert answer.json()["state"] == "setting_up"
        assert answer.json()["trouble"].startswith("No usable wallet-rpc process serves the ")
        assert "tried again" in answer.json()["waits_for"]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_commission_fee_bearer_and_deadline_come_back_as_they_were_sent(world: World) -> None:
    commission = {"address": address("market"), "parts": 250}
    body = order_body(fee_bearer="vendor", commission=commission, deposit_window_seconds=600)
    async with world.client() as client:
        escrow = (await client.post(PATH, json=body)).json()
    assert escrow["commission"] == commission
    assert escrow["fee_bearer"] == "vendor"
    record = await world.store.read(lambda tx: tx.escrows.get(escrow["escrow_id"]))
    assert record.deposit_window_seconds == 600
