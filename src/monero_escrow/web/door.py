"""What every request passes before any endpoint sees it: its host, its address's limit; and what keeps the door.

The probes pass: whoever asks whether the service runs calls it by an address and every second, and learns nothing else.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, FastAPI, Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from monero_escrow.core.errors import EscrowError
from monero_escrow.escrows.context import Context
from monero_escrow.nodes.shares import Shares
from monero_escrow.web.attempts import Attempts
from monero_escrow.web.forwarded import is_allowed
from monero_escrow.web.limits import discard_body
from monero_escrow.web.notes import Notes
from monero_escrow.web.problems import WrongHostError, answer_to
from monero_escrow.web.rates import Claim, Limit, RateLimits, source_of

PROBES: Final = frozenset({"/livez", "/readyz"})
UNKNOWN_ADDRESS: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Door:
    """Who may come in how often, and what is written down of it. One a service."""

    limits: RateLimits
    attempts: Attempts
    notes: Notes
    shares: Shares | None
    """None when no other node shares the database."""

    async def run(self) -> None:
        """What is done beside the requests, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.notes.run())
            if self.shares is not None:
                tasks.create_task(self.shares.run())

    def order_claims(self, key_id: str, address: str) -> list[Claim]:
        """Whose buckets a new escrow is taken from."""
        return [(Limit.KEY_ORDERS, key_id), (Limit.ADDRESS_ORDERS, source_of(address))]


def give_door(app: FastAPI, ctx: Context) -> Door:
    """Make a door, and make it that of every request to `app`. Runs nothing: the service runs it beside its server."""
    settings = ctx.settings
    limits = RateLimits(settings, ctx.clock, ctx.metrics)
    shared = settings.database_url is not None
    shares = Shares(ctx.store, ctx.clock, settings.node_name, limits) if shared else None
    door = Door(limits, Attempts(ctx.clock, ctx.metrics), Notes(ctx.store, ctx.clock), shares)
    app.state.door = door
    return door


def door_of(app: FastAPI) -> Door:
    """The one that was given."""
    door: Door = app.state.door
    return door


async def _door_of_request(request: Request) -> Door:
    door: Door = request.app.state.door
    return door


async def _address(request: Request) -> str:
    return request.client.host if request.client is not None else UNKNOWN_ADDRESS


TheDoor = Annotated[Door, Depends(_door_of_request)]
TheAddress = Annotated[str, Depends(_address)]
"""Where the caller is, as far as the proxies before us are to be believed (forwarded.py)."""


class AtTheDoor:
    """Answers 421 to a host that is none of ours, and 429 to an address that asks too often."""

    def __init__(self, app: ASGIApp, door: Door, hosts: tuple[str, ...]) -> None:
        self.app, self._door, self._hosts = app, door, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self.app(scope, receive, send)
            return
        try:
            self._let_in(scope)
        except EscrowError as error:
            await discard_body(scope, receive)
            await answer_to(error)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _let_in(self, scope: Scope) -> None:
        """Raises WrongHostError, TooManyRequestsError."""
        client = scope.get("client")
        self._door.limits.charge([(Limit.ADDRESS, source_of(client[0] if client else UNKNOWN_ADDRESS))])
        if self._hosts and not is_allowed(Headers(scope=scope).get("host", ""), self._hosts):
            raise WrongHostError("The service is not called by this name.")
