"""Every wallet process is gone: callers are told and nothing is lost, and when they are back all goes on by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import ROLES
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.fleet import health
from monero_escrow.monero.waiting import until
from monero_escrow.store.records import PayoutState, Scope
from monero_escrow.web.app import create_app
from unit.fake_service import Town, payout_is, reached, settings_of, view
from web.world import order_body

_LIMIT_SECONDS = 30.0


async def client_of(conductor: Conductor, scope: Scope, shop: str | None = None) -> httpx2.AsyncClient:
    now = conductor.ctx.clock.now()
    _, key = await conductor.ctx.store.write(lambda tx: tx.keys.create(scope, shop, "test", now, None))
    transport = httpx2.ASGITransport(app=create_app(conductor))
    headers = {"Authorization": f"Bearer {key}"}
    return httpx2.AsyncClient(transport=transport, base_url="http://example.com", headers=headers, timeout=60)


async def fleet_of(operator: httpx2.AsyncClient) -> dict[str, Any]:
    answer = await operator.get("/admin/fleet")
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


async def test_with_every_process_down_requests_get_503_escrows_wait_and_all_goes_on_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "LOOK_SECONDS", 0.2)
    town = Town()
    processes = town.processes()
    settings = settings_of(tmp_path, processes, request_wait_seconds=0.5)
    async with town.service(settings, processes) as conductor:
        shop = await client_of(conductor, Scope.SHOP, "shop")
        operator = await client_of(conductor, Scope.OPERATOR)
        async with shop, operator:
            funded = await town.funded(conductor)
            for process in processes:
                process.kill()

            # A decision needs no process: it is taken, and waits
            answer = await shop.post(f"/api/escrows/{funded}/release", json={})
            assert answer.status_code == 200
            assert answer.json()["state"] == "paying_out"

            async def waits() -> bool:
                return (await view(conductor, funded)).escrow.trouble is not None

            await until(waits, limit_seconds=_LIMIT_SECONDS)

            # An order needs three: its caller is told, and it is kept
            async def refused() -> bool:
                sent = await shop.post("/api/orders/late/init-escrow", json=order_body_of(town))
                if sent.status_code != 503:
                    return False
                assert sent.json()["code"] == "no_slot_free"
                assert int(sent.headers["retry-after"]) > 0
                return True

            await until(refused, limit_seconds=_LIMIT_SECONDS)
            listed = (await shop.get("/api/escrows", params={"state": "setting_up"})).json()["escrows"]
            assert [escrow["order_id"] for escrow in listed] == ["late"]
            late = listed[0]["escrow_id"]

            async def says_why() -> bool:
                shown = (await shop.get(f"/api/escrows/{late}")).json()
                return "No usable wallet-rpc process serves the " in (shown["trouble"] or "")

            await until(says_why, limit_seconds=_LIMIT_SECONDS)

            # The operator sees which, why, and when they are looked at again
            async def all_are_sick() -> bool:
                return {slot["state"] for slot in (await fleet_of(operator))["slots"]} == {"sick"}

            await until(all_are_sick, limit_seconds=_LIMIT_SECONDS)
            fleet = await fleet_of(operator)
            assert all(slot["reason"] and slot["next_look_seconds"] is not None for slot in fleet["slots"])
            assert [fleet["classes"][role]["usable"] for role in ROLES] == [0, 0, 0]
            assert (await operator.get("/admin/health")).json()["status"] == "critical"

            for process in processes:
                process.start()

            await reached(conductor, late, State.AWAITING_DEPOSIT)
            await payout_is(conductor, funded, PayoutState.BROADCAST)
            assert (await shop.post("/api/orders/late/init-escrow", json=order_body_of(town))).status_code == 200
            assert all(slot["state"] != "sick" for slot in (await fleet_of(operator))["slots"])


def order_body_of(town: Town) -> dict[str, Any]:
    """An order that pays to addresses of the fake chain's network."""
    return order_body(
        buyer_refund_address=town.address_of("late buyer"), vendor_payout_address=town.address_of("late vendor")
    )
