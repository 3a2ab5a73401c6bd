"""Every endpoint there is × every scope: who is let in at all. An endpoint that is not in the table fails it."""

from __future__ import annotations

from typing import Final

import pytest

from monero_escrow.store.records import Scope
from monero_escrow.web.access import ACTIONS, path_of, scopes_of
from web.world import World, problem_of

ALL: Final = frozenset(Scope)
SHOP, OPERATOR = frozenset({Scope.SHOP}), frozenset({Scope.OPERATOR})
ESCROW: Final = "/api/escrows/{escrow_id}"
PAYOUT: Final = f"{ESCROW}/payouts/{{number}}"
OPEN: Final = frozenset({"/livez", "/readyz"})

MAY_CALL: Final[dict[tuple[str, str], frozenset[Scope]]] = {
    ("POST", "/api/orders/{order_id}/init-escrow"): SHOP,
    ("POST", "/api/escrows/batch"): SHOP,
    ("GET", "/api/escrows"): ALL,
    ("GET", ESCROW): ALL,
    **{("POST", f"{ESCROW}/{path_of(event)}"): scopes_of(event) for event in ACTIONS},
    ("POST", f"{ESCROW}/evidence"): SHOP,
    ("GET", f"{ESCROW}/evidence"): ALL,
    **{("POST", f"{PAYOUT}/{done}"): OPERATOR for done in ("resume", "replace", "call-off", "write-off")},
    ("GET", "/api/events"): SHOP | OPERATOR,
    ("GET", "/metrics"): OPERATOR,
    ("GET", "/admin/health"): OPERATOR,
    ("GET", "/admin/fleet"): OPERATOR,
    ("POST", "/admin/fleet/reload"): OPERATOR,
    ("GET", "/admin/nodes"): OPERATOR,
    ("GET", "/admin/overview"): OPERATOR,
    **{("POST", f"/admin/nodes/{{name}}/{done}"): OPERATOR for done in ("drain", "resume")},
    ("POST", "/admin/escrows/{escrow_id}/rescan"): OPERATOR,
}
NOWHERE: Final = {"order_id": "order-1", "escrow_id": "f" * 24, "number": "1", "name": "nobody"}


def test_the_table_has_every_endpoint_and_each_says_that_it_needs_a_key(world: World) -> None:
    operations = {
        (method.upper(), path): operation
        for path, of_path in world.app.openapi()["paths"].items()
        for method, operation in of_path.items()
        if path not in OPEN
    }
    assert set(operations) == set(MAY_CALL)
    assert all(operation["security"] for operation in operations.values())


@pytest.mark.parametrize(("method", "path"), MAY_CALL)
async def test_only_the_scopes_of_the_table_are_let_in(world: World, method: str, path: str) -> None:
    for who in (None, *Scope):
        async with world.client(None if who is None else who.value) as client:
            answer = await client.request(method, path.format(**NOWHERE))
        if who is None:
            problem_of(answer, 401, "unauthenticated")
        elif who in MAY_CALL[method, path]:
            assert answer.status_code not in (401, 403)
        else:
            problem_of(answer, 403, "wrong_scope")
            assert str(answer.status_code) in world.app.openapi()["paths"][path][method.lower()]["responses"]


PAGES: Final = ("/admin", "/admin/escrows", "/admin/slots", "/admin/disputes", "/admin/live")


@pytest.mark.parametrize("path", PAGES)
async def test_a_bearer_key_opens_no_page_whatever_its_scope(world: World, path: str) -> None:
    for who in (None, *Scope):
        async with world.client(None if who is None else who.value) as client:
            assert (await client.get(path)).status_code == 303
