"""One id from a request to the last call that its work makes: what an operator searches the log for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict

from monero_escrow import service
from monero_escrow.core.errors import UnavailableError
from monero_escrow.core.life_cycle import State
from monero_escrow.escrows import conductor as conductor_module
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.context import Context
from monero_escrow.monero.fake.wallet_rpc import FakeWalletRpc
from monero_escrow.store.records import EscrowRecord, PayoutState, Scope
from monero_escrow.store.work_table import Claim
from monero_escrow.telemetry.metrics import Metrics
from monero_escrow.web.app import create_app
from unit.fake_service import CONFIRMATIONS, Town, payout_is, reached, settings_of
from unit.rows import XMR
from unit.scripted import an_escrow


class Told:
    """A process whose calls are told of as a real one's are: by the service's own hook, when the call ends."""

    def __init__(self, process: FakeWalletRpc) -> None:
        self.__dict__["_process"] = process
        self.__dict__["_tell"] = service._Calls(process.url, Metrics())

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._process, name)
        if name == "aclose" or not asyncio.iscoroutinefunction(found):
            return found

        async def told(*arguments: Any, **more: Any) -> Any:
            began = time.monotonic()
            try:
                return await found(*arguments, **more)
            finally:
                self._tell(name, time.monotonic() - began, "ok")

        return told

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._process, name, value)


def lines(logs: Sequence[EventDict], **wanted: object) -> list[Mapping[str, Any]]:
    return [line for line in logs if all(line.get(name) == value for name, value in wanted.items())]


async def test_an_orders_and_a_payouts_id_lead_from_the_request_to_each_call_of_a_wallet(tmp_path: Path) -> None:
    town = Town()
    processes = [Told(process) for process in town.processes()]
    settings = settings_of(tmp_path, processes)  # type: ignore[arg-type]
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        async with town.service(settings, processes) as conductor:  # type: ignore[arg-type]
            ctx = conductor.ctx
            _, key = await ctx.store.write(lambda tx: tx.keys.create(Scope.SHOP, "shop", "test", ctx.clock.now()))
            transport = httpx2.ASGITransport(app=create_app(conductor))
            async with httpx2.AsyncClient(transport=transport, base_url="http://example.com") as shop:
                shop.headers["Authorization"] = f"Bearer {key}"
                order = {
                    "amount": "1",
                    "buyer_refund_address": town.address_of("buyer"),
                    "vendor_payout_address": town.address_of("vendor"),
                }
                named = {"X-Request-ID": "the-order"}
                made = await shop.post("/api/orders/order-1/init-escrow", json=order, headers=named)
                escrow_id = made.json()["escrow_id"]
                address = (await reached(conductor, escrow_id, State.AWAITING_DEPOSIT)).escrow.deposit_address
                assert address is not None
                await town.chain.mine_until_spendable()
                await town.chain.miner.pay([(address, XMR)])
                await town.chain.mine(CONFIRMATIONS)
                await reached(conductor, escrow_id, State.FUNDED)
                released = await shop.post(f"/api/escrows/{escrow_id}/release", headers={"X-Request-ID": "the-release"})
                assert released.is_success
                await payout_is(conductor, escrow_id, PayoutState.BROADCAST)

    calls = {line["method"] for line in lines(logs, event="rpc", request_id="the-order", escrow_id=escrow_id)}
    assert {"prepare_multisig", "make_multisig", "exchange_multisig_keys"} <= calls
    calls = {line["method"] for line in lines(logs, event="rpc", request_id="the-release", escrow_id=escrow_id)}
    assert {"transfer", "sign_multisig", "submit_multisig"} <= calls or {"sweep_all", "sign_multisig"} <= calls

    (requested,) = lines(logs, event="request", request_id="the-release")
    assert requested["escrow_id"] == escrow_id
    steps = lines(logs, event="step", request_id="the-order")
    assert [line["step"] for line in steps].count("make wallet") == 3
    for line in steps:
        assert line["slot"].startswith(line["role"])
        assert line["milliseconds"] >= 0
        assert (line["attempt"], line["outcome"], line["escrow_id"]) == (1, "ok", escrow_id)
    (signed,) = lines(logs, event="step", step="sign", request_id="the-release")
    assert (signed["payout"], signed["role"]) == (1, signed["slot"].partition("@")[0])
    by_itself = [line for line in lines(logs, event="rpc", escrow_id=escrow_id) if "request_id" not in line]
    assert by_itself  # the deposit was looked at: nobody asked for that
    assert not [line for line in by_itself if not line.get("work")]


async def test_what_failed_is_tried_again_under_the_same_id(ctx: Context, monkeypatch: Any) -> None:
    tried: list[Mapping[str, Any]] = []

    async def fails_once(_ctx: Context, _escrow: EscrowRecord) -> None:
        tried.append(structlog.contextvars.get_contextvars())
        if len(tried) == 1:
            raise UnavailableError("Not now.", what_to_do="Wait.")

    monkeypatch.setattr(conductor_module, "advance", fails_once)
    await an_escrow(ctx, State.AWAITING_DEPOSIT)
    conductor = Conductor(ctx)
    with structlog.contextvars.bound_contextvars(request_id="the-request"):
        conductor.nudge("escrow")
    for _ in range(3):
        await conductor._work_on(Claim("escrow", "", 0))
    assert [one.get("request_id") for one in tried[:3]] == ["the-request", "the-request", None]
    assert [one["attempt"] for one in tried[:2]] == [1, 2]
    assert len({one["work"] for one in tried[:3]}) == 3
