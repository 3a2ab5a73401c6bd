"""A service without wallets: the real application on a real encrypted store, and escrows put into any state by hand."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import httpx2
import pytest
from fastapi import FastAPI
from nacl import bindings

from monero_escrow.config import Settings
from monero_escrow.core.address import AddressKind, Network, encode_address
from monero_escrow.core.deposits import OutputStatus
from monero_escrow.core.life_cycle import State
from monero_escrow.core.money import PICONERO_PER_XMR
from monero_escrow.core.payout import Terms
from monero_escrow.core.roles import Role, role_of_slot
from monero_escrow.escrows.conductor import Conductor
from monero_escrow.escrows.context import Context, new_id
from monero_escrow.escrows.held import hold
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.errors import ProcessUnreachableError
from monero_escrow.monero.ports import BlockHeader, Daemon, DaemonInfo, FeeEstimate, WalletRpc
from monero_escrow.store.records import EscrowRecord, OutputRecord, PayoutRecord, Scope
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from monero_escrow.web.app import create_app

XMR = PICONERO_PER_XMR
NETWORK = Network.STAGENET
SHOP = "acme"
OTHER_SHOP = "other"
WORTHLESS_PICONERO = 5_000_000
"""What the stand-in daemon's fees make an output worth less than."""

_ORDER = 2**252 + 27742317777372353535851937790883648493


def address(name: str, network: Network = NETWORK, kind: AddressKind = AddressKind.STANDARD) -> str:
    """A sound address that nobody else has, always the same for a name."""
    payment_id = bytes(8) if kind is AddressKind.INTEGRATED else None
    return encode_address(kind, network, _point(f"{name}/spend"), _point(f"{name}/view"), payment_id)


def _point(name: str) -> bytes:
    scalar = int.from_bytes(hashlib.sha512(name.encode()).digest(), "little") % _ORDER
    return bindings.crypto_scalarmult_ed25519_base_noclamp(scalar.to_bytes(32, "little"))


def order_body(**changes: Any) -> dict[str, Any]:
    """The body of a good init-escrow request; None leaves a field out."""
    body = {
        "amount": "1.25",
        "buyer_refund_address": address("buyer"),
        "vendor_payout_address": address("vendor"),
        **changes,
    }
    return {name: value for name, value in body.items() if value is not None}


def ascii_json(body: object) -> dict[str, Any]:
    """Request arguments that send the body as ASCII: the only way to send what is no Unicode text."""
    return {"content": json.dumps(body).encode(), "headers": {"Content-Type": "application/json"}}


def settings_are(**values: Any) -> pytest.MarkDecorator:
    """The test's world has these settings."""
    return pytest.mark.parametrize("web_settings", [values], ids=["settings"])


class SettableClock:
    """The machine's clock, put forward at will."""

    def __init__(self) -> None:
        self.ahead_seconds = 0.0
        self.stands_at: float | None = None
        """What `monotonic` says, if a test stops it."""

    def now(self) -> float:
        return time.time() + self.ahead_seconds

    def monotonic(self) -> float:
        return time.monotonic() if self.stands_at is None else self.stands_at

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class StandInDaemon:
    """A daemon that is synchronised, or does not answer at all."""

    url = "http://127.0.0.1:1"

    def __init__(self, clock: SettableClock) -> None:
        self.silent = False
        self.tip_ahead_seconds = 0.0
        self._clock = clock

    async def get_pool_txids(self) -> list[str]:
        """Nothing is ever on its way, and no block comes."""
        return []

    async def get_info(self) -> DaemonInfo:
        if self.silent:
            raise ProcessUnreachableError(self.url, "get_info", "connection refused")
        return DaemonInfo(1000, 0, "aa" * 32, True, NETWORK, False, "0.18.5.1")

    async def get_last_block_header(self) -> BlockHeader:
        return BlockHeader(999, "aa" * 32, int(self._clock.now() + self.tip_ahead_seconds))

    async def get_fee_estimate(self) -> FeeEstimate:
        return FeeEstimate(20_000, (20_000, 80_000, 320_000, 4_000_000), 10_000)


class StandInProcess:
    """A wallet-rpc process as far as the pool knows one; it takes no calls."""

    abandoned = False

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def forget_abandoned(self) -> None:
        self.abandoned = False


class PromptConductor(Conductor):
    """Gives an escrow its address the moment somebody waits for it: a set-up that takes no wallets and no time."""

    set_ups = True

    async def wait_while(self, escrow_id: str, state: State, seconds: float) -> None:
        if self.set_ups:
            await self.ctx.store.write(lambda tx: give_address(tx, tx.escrows.get(escrow_id), self.ctx.clock.now()))


def give_address(tx: Transaction, escrow: EscrowRecord, now: float) -> None:
    """What the end of a set-up records."""
    if escrow.state is State.SETTING_UP:
        tx.trios.add(escrow.id, escrow.id, 0, now)
        tx.trios.finish(escrow.id, address(escrow.id), "00" * 32, NETWORK, now)
        tx.escrows.change(
            escrow.id,
            expected=State.SETTING_UP,
            now=now,
            state=State.AWAITING_DEPOSIT,
            trio_id=escrow.id,
            deposit_address=address(escrow.id),
            deposit_deadline=now + escrow.deposit_window_seconds,
        )


@dataclass(frozen=True)
class Coin:
    """One output that came."""

    amount_piconero: int = 2 * XMR
    status: OutputStatus = OutputStatus.COUNTED


@dataclass
class World:
    """The application, what it stands on, and a key of each scope."""

    settings: Settings
    store: SqlStore
    slots: int = 3
    clock: SettableClock = field(default_factory=SettableClock)
    daemon: StandInDaemon = field(init=False)
    keys: dict[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.daemon = StandInDaemon(self.clock)
        slots = [
            Slot(index, role_of_slot(index), cast("WalletRpc", StandInProcess(18082 + index)))
            for index in range(self.slots)
        ]
        self.pool = SlotPool(slots, self.clock, quarantine_seconds=60)
        self.ctx = Context(self.settings, self.store, self.pool, cast("Daemon", self.daemon), self.clock)
        self.conductor = PromptConductor(self.ctx)
        self.app: FastAPI = create_app(self.conductor)

    async def make_keys(self) -> None:
        """A key of each scope, and one of another shop."""
        wanted = {"shop": (Scope.SHOP, SHOP), "other shop": (Scope.SHOP, OTHER_SHOP)}
        wanted |= {"arbiter": (Scope.ARBITER, None), "operator": (Scope.OPERATOR, None)}  # type: ignore[dict-item]
        for name, (scope, shop) in wanted.items():
            self.keys[name] = (await self.make_key(scope, shop))[1]

    async def make_key(self, scope: Scope, shop: str | None, expires_at: float | None = None) -> tuple[str, str]:
        """A key's id and the key."""
        now = self.clock.now()
        record, key = await self.store.write(lambda tx: tx.keys.create(scope, shop, "test", now, expires_at))
        return record.id, key

    def client(self, who: str | None = "shop", *, key: str | None = None, app: Any = None) -> httpx2.AsyncClient:
        """A client with this one's key, or with none."""
        bearer = key if key is not None else self.keys[who] if who else None
        headers = {"Authorization": f"Bearer {bearer}"} if bearer is not None else {}
        transport = httpx2.ASGITransport(app=app or self.app)
        return httpx2.AsyncClient(transport=transport, base_url="http://example.com", headers=headers, timeout=30)

    async def add_escrow(
        self,
        state: State,
        coins: Sequence[Coin] = (),
        *,
        shop: str = SHOP,
        disputed: bool = False,
        created_at: float | None = None,
    ) -> str:
        """An escrow in this state with these outputs, as if it had come there by itself."""
        now = self.clock.now() if created_at is None else created_at
        escrow_id = new_id()
        terms = Terms(int(1.25 * XMR), address("buyer"), address("vendor"))
        escrow = EscrowRecord(
            escrow_id, shop, f"order-{escrow_id}", "0" * 64, State.SETTING_UP, terms, 3600.0, None, None, None,
            now, 0, None, now, now,
        )  # fmt: skip

        def add(tx: Transaction) -> None:
            tx.escrows.add(escrow)
            if state is not State.SETTING_UP:
                give_address(tx, escrow, now)
                tx.escrows.change(escrow_id, expected=State.AWAITING_DEPOSIT, now=now, state=state)
            if disputed:
                tx.audit.add("shop:acme:x", "dispute", now, escrow_id=escrow_id, to_state=State.DISPUTED.value)
            for coin in coins:
                tx.outputs.add(_output(escrow_id, coin, now))

        await self.store.write(add)
        return escrow_id

    async def disputed(self, coin: Coin | None = None) -> str:
        """An escrow with one coin whose parties disagree."""
        return await self.add_escrow(State.DISPUTED, [coin or Coin()], disputed=True)

    async def held_payout(self) -> str:
        """An escrow whose payout stopped for a person."""
        escrow_id = await self.add_escrow(State.FUNDED, [Coin()])
        async with self.client() as client:
            assert (await client.post(f"/api/escrows/{escrow_id}/release")).status_code == 200
        payout = await self.payout_of(escrow_id)
        await self.store.write(lambda tx: hold(tx, payout.id, "The anchor is spent.", self.clock.now()))
        return escrow_id

    async def payout_of(self, escrow_id: str) -> PayoutRecord:
        """The only one that the database holds."""
        (payout,) = await self.store.read(lambda tx: tx.payouts.of(escrow_id))
        return payout

    async def state_of(self, escrow_id: str) -> State:
        """The state that the database holds."""
        return (await self.store.read(lambda tx: tx.escrows.get(escrow_id))).state


def _output(escrow_id: str, coin: Coin, now: float) -> OutputRecord:
    key, txid = (hashlib.sha256(new_id().encode()).hexdigest() for _ in range(2))
    return OutputRecord(escrow_id, key, txid, coin.amount_piconero, 900, 0, coin.status, None, None, now)


def problem_of(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The body of an answer that must be this problem, and a well-formed one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["code"] == code, body
    assert body["status"] == status
    assert body["type"] == f"urn:monero-escrow:problem:{code}"
    assert body["title"]
    assert body["detail"]
    assert body["what_to_do"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    return body


def mark_sick(world: World, role: Role, reason: str) -> None:
    """Let every slot of a role be sick."""
    for slot in world.pool.slots:
        if slot.role is role:
            world.pool.mark_sick(slot, reason)
