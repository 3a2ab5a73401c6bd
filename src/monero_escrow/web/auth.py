"""Who calls: bearer API keys, and the scope that each endpoint asks for.

A key is found by its hash, in an index: how long that takes tells at most of a hash, from which no way leads to a key
of 256 random bits. METRICS_TOKEN is compared in constant time. What a key may do is its scope. Nothing here knows an
escrow: which of them a caller may see is `access.py`.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

import structlog
from fastapi import Depends, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from monero_escrow.escrows.conductor import Conductor
from monero_escrow.store.records import ApiKeyRecord, Scope
from monero_escrow.telemetry.metrics import NO_SCOPE
from monero_escrow.web.dependencies import TheConductor, TheMetricsToken
from monero_escrow.web.door import TheAddress, TheDoor
from monero_escrow.web.problems import UnauthenticatedError, WrongScopeError
from monero_escrow.web.rates import Limit

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="api_key",
    description="A key made with `monero-escrow keys create --scope shop|arbiter|operator`.",
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever holds the key of this request."""

    key: ApiKeyRecord

    @property
    def scope(self) -> Scope:
        """What the key may do."""
        return self.key.scope

    @property
    def shop_id(self) -> str | None:
        """The shop the key belongs to; None for arbiters and operators."""
        return self.key.shop_id

    @property
    def actor(self) -> str:
        """The caller's name in the audit trail."""
        return self.key.actor

    @property
    def id(self) -> str:
        """Whose idempotency keys these are: the shop's, whichever API key it used, so that a renewed one can retry."""
        return f"shop:{self.shop_id}" if self.shop_id else f"{self.scope}:{self.key.id}"


async def _authenticated(
    conductor: TheConductor,
    door: TheDoor,
    address: TheAddress,
    sent: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> Caller:
    """The caller. Raises UnauthenticatedError, the same for a key that is unknown, expired or revoked;
    TooManyAttemptsError, TooManyRequestsError."""
    denials = conductor.ctx.metrics.key_denials
    if sent is None:
        denials.labels(NO_SCOPE).inc()
        raise UnauthenticatedError("The request has no API key.")
    key, now = sent.credentials, conductor.ctx.clock.now()
    door.attempts.require_patience(address, key)
    record = await conductor.ctx.store.read(lambda tx: tx.keys.find(key, now))
    if record is None:
        denials.labels(NO_SCOPE).inc()
        door.attempts.failed(address)
        door.notes.refused(address)
        raise UnauthenticatedError("The API key is unknown, expired or revoked.")
    door.attempts.succeeded(key)
    door.limits.charge([(Limit.KEY, record.id)])
    door.notes.used(record.id)
    caller = Caller(record)
    structlog.contextvars.bind_contextvars(caller=caller.actor)
    return caller


AnyCaller = Annotated[Caller, Depends(_authenticated)]


def _with_scope(*scopes: Scope) -> Callable[[Caller, Conductor], Awaitable[Caller]]:
    async def check(caller: AnyCaller, conductor: TheConductor) -> Caller:
        if caller.scope not in scopes:
            conductor.ctx.metrics.key_denials.labels(caller.scope.value).inc()
            wanted = " or ".join(scopes)
            raise WrongScopeError(f"This needs a key with the scope {wanted}; the key's scope is {caller.scope}.")
        return caller

    return check


ShopCaller = Annotated[Caller, Depends(_with_scope(Scope.SHOP))]
ArbiterCaller = Annotated[Caller, Depends(_with_scope(Scope.ARBITER))]
OperatorCaller = Annotated[Caller, Depends(_with_scope(Scope.OPERATOR))]
ShopOrOperator = Annotated[Caller, Depends(_with_scope(Scope.SHOP, Scope.OPERATOR))]


_operator = _with_scope(Scope.OPERATOR)


async def _may_read_metrics(
    conductor: TheConductor,
    token: TheMetricsToken,
    door: TheDoor,
    address: TheAddress,
    sent: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> None:
    """METRICS_TOKEN, which is compared without the database, or an operator's key. Raises as for any other endpoint."""
    if sent is not None and token is not None:
        theirs, ours = sent.credentials.encode(), token.get_secret_value().encode()
        if hmac.compare_digest(theirs, ours):
            return
    await _operator(await _authenticated(conductor, door, address, sent), conductor)


MetricsReader = Annotated[None, Depends(_may_read_metrics)]
