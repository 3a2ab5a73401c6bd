"""A thin typed client of the service's public HTTP API: all that the demo's shop and arbiter know of the service.

While the service is away (it may be started again any moment) a request is sent again: each is safe to repeat, by its
order or by its Idempotency-Key. Nothing is kept here. Amounts come as strings of digits and leave here as integer
piconero. A problem the service reports (RFC 9457) is raised as an `ApiError` with the service's own code and advice.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

import httpx2

from monero_escrow.core.errors import EscrowError

# init-escrow may wait for the address itself, REQUEST_WAIT_SECONDS long, before it answers 202.
_LIMITS: Final = httpx2.Timeout(15.0, read=180.0)
SILENCE_LIMIT_SECONDS: Final = 90.0
_PAUSE_SECONDS: Final = 0.3
_UNAVAILABLE: Final = 503


class ApiError(EscrowError):
    """The service answered with a problem. `problem` is its code there, `status` the HTTP status."""

    code = "api_problem"

    def __init__(self, status: int, problem: str, detail: str, what_to_do: str) -> None:
        super().__init__(f"{detail} (HTTP {status}, {problem})", what_to_do=what_to_do)
        self.status = status
        self.problem = problem


class ServiceSilentError(EscrowError):
    """The service does not answer, or not in the shape its documentation promises."""

    code = "service_silent"
    what_to_do = "Read the end of the service's log, service.log."


@dataclass(frozen=True, slots=True)
class Payout:
    """A decision as the API shows it. `payments` is the plan: net piconero by address; txid and fee come later."""

    kind: str
    state: str
    txid: str | None
    fee_piconero: int | None
    payments: Mapping[str, int]
    trouble: str | None


@dataclass(frozen=True, slots=True)
class Escrow:
    """An escrow as the API shows it to its shop."""

    escrow_id: str
    order_id: str
    state: str
    trouble: str | None
    deposit_address: str | None
    amount_piconero: int
    counted_piconero: int
    pending_piconero: int
    payouts: tuple[Payout, ...]


class EscrowApi:
    """One caller of the API, who has one key. Use as an async context manager.

    With the URLs of several nodes, whichever answers is asked: any of them answers any call. A service that is away
    for longer than `silence_limit_seconds` is an error.
    """

    def __init__(
        self, url: str | Sequence[str], key: str, *, silence_limit_seconds: float = SILENCE_LIMIT_SECONDS
    ) -> None:
        self._silence_limit_seconds = silence_limit_seconds
        self._nodes = itertools.cycle([url] if isinstance(url, str) else url)
        self._node = next(self._nodes)
        self._http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=_LIMITS, trust_env=False)

    async def __aenter__(self) -> EscrowApi:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def init_escrow(
        self, order_id: str, *, amount_xmr: str, buyer_refund_address: str, vendor_payout_address: str, **more: object
    ) -> Escrow:
        """The order's escrow; without an address yet, if the service has not made it within its time limit. `more` are
        further terms of the order, as the API names them.
        """
        terms = {
            "amount": amount_xmr,
            "buyer_refund_address": buyer_refund_address,
            "vendor_payout_address": vendor_payout_address,
            **more,
        }
        return _escrow(await self._send("POST", f"/api/orders/{order_id}/init-escrow", terms))

    async def escrow(self, escrow_id: str) -> Escrow:
        """Where the escrow is, in full."""
        return _escrow(await self.read(f"/api/escrows/{escrow_id}"))

    async def read(self, path: str) -> Mapping[str, Any]:
        """Whatever stands at a path, as the API answers it."""
        return await self._send("GET", path)

    async def escrows_in(self, *states: str) -> int:
        """How many escrows of this caller are in one of these states (at most a page of them)."""
        found = await self._send("GET", f"/api/escrows?state={','.join(states)}")
        return len(found["escrows"])

    async def release(self, escrow_id: str) -> Escrow:
        """The shop: the vendor is paid."""
        return await self.act(escrow_id, "release")

    async def refund(self, escrow_id: str) -> Escrow:
        """The shop: the buyer is paid back."""
        return await self.act(escrow_id, "refund")

    async def dispute(self, escrow_id: str, reason: str) -> Escrow:
        """The shop: buyer and vendor disagree."""
        return await self.act(escrow_id, "dispute", {"reason": reason})

    async def send_evidence(self, escrow_id: str, party: str, text: str) -> None:
        """The shop: what a party says, for the arbiter."""
        headers = {"Idempotency-Key": f"demo-{escrow_id}-evidence-{party}"}
        await self._send("POST", f"/api/escrows/{escrow_id}/evidence", {"party": party, "text": text}, headers)

    async def rule(self, escrow_id: str, *, buyer_share: int, vendor_share: int) -> Escrow:
        """The arbiter: both are paid, by shares of 10,000."""
        return await self.act(escrow_id, "ruling", {"buyer_share": buyer_share, "vendor_share": vendor_share})

    async def act(self, escrow_id: str, action: str, body: Mapping[str, object] | None = None) -> Escrow:
        """Any decision, by its name in the path. However often it is sent, it is taken once."""
        # One key an action and escrow: were the answer lost and the request sent again, it would still be one decision.
        headers = {"Idempotency-Key": f"demo-{escrow_id}-{action}"}
        return _escrow(await self._send("POST", f"/api/escrows/{escrow_id}/{action}", body, headers))

    async def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Mapping[str, Any]:
        """Send it, and again while the service is away or says that it cannot just now."""
        deadline = time.monotonic() + self._silence_limit_seconds
        while True:
            try:
                return await self._send_once(method, path, body, headers)
            except (ServiceSilentError, ApiError) as error:
                passing = not isinstance(error, ApiError) or error.status == _UNAVAILABLE
                if not passing or time.monotonic() > deadline:
                    raise
                self._node = next(self._nodes)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _send_once(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        headers: Mapping[str, str] | None,
    ) -> Mapping[str, Any]:
        try:
            answer = await self._http.request(method, f"{self._node}{path}", json=body, headers=headers)
            content = answer.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise ServiceSilentError(
                f"{method} {_pattern(path)} has no usable answer: {type(error).__name__}."
            ) from error
        if not isinstance(content, dict):
            raise ServiceSilentError(f"{method} {_pattern(path)} did not answer with an object.")
        if answer.is_error:
            raise ApiError(
                answer.status_code,
                str(content.get("code", "unknown")),
                str(content.get("detail") or content.get("title") or "The service refused."),
                str(content.get("what_to_do", "Read the end of the service's log, service.log.")),
            )
        return content


def _pattern(path: str) -> str:
    return path.partition("?")[0]


def _escrow(content: Mapping[str, Any]) -> Escrow:
    try:
        return Escrow(
            escrow_id=content["escrow_id"],
            order_id=content["order_id"],
            state=content["state"],
            trouble=content["trouble"],
            deposit_address=content["deposit_address"],
            amount_piconero=int(content["amount_piconero"]),
            counted_piconero=int(content["counted_piconero"]),
            pending_piconero=int(content["pending_piconero"]),
            payouts=tuple(_payout(payout) for payout in content.get("payouts", ())),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ServiceSilentError(f"The service's answer lacks what an escrow has: {error}.") from error


def _payout(content: Mapping[str, Any]) -> Payout:
    payments: dict[str, int] = {}
    for payment in content["payments"]:
        address = payment["address"]
        payments[address] = payments.get(address, 0) + int(payment["amount_piconero"])
    fee = content["fee_piconero"]
    return Payout(
        kind=content["kind"],
        state=content["state"],
        txid=content["txid"],
        fee_piconero=None if fee is None else int(fee),
        payments=payments,
        trouble=content["trouble"],
    )
