"""The published document: complete, true about errors, and readable without anybody else's server."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

from pydantic import BaseModel

from monero_escrow.core.errors import EscrowError, InvariantError
from monero_escrow.monero.errors import ProcessUnreachableError
from monero_escrow.web.docs_page import docs_page
from monero_escrow.web.problems import answer_to, status_of, statuses_by_code
from monero_escrow.web.schemas.shapes import Answer, Request
from web.world import World


def operations(world: World) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in world.app.openapi()["paths"].items()
        for method, operation in methods.items()
    }


def shapes(base: type[BaseModel] = BaseModel) -> list[type[BaseModel]]:
    """Every shape that the application itself declares."""
    ours = [one for one in base.__subclasses__() if one.__module__.startswith("monero_escrow.web.")]
    return ours + [below for one in base.__subclasses__() for below in shapes(one)]


def test_every_shape_is_a_request_or_an_answer_and_lives_in_the_room_of_shapes(world: World) -> None:
    assert len(shapes()) > len(world.app.openapi()["paths"]), "they were looked for"
    assert [one for one in shapes() if not one.__module__.startswith("monero_escrow.web.schemas.")] == []
    assert [one for one in shapes() if not issubclass(one, Request | Answer)] == []
    strict = [
        one.model_config.get("strict") and one.model_config.get("hide_input_in_errors") for one in shapes(Request)
    ]
    assert strict
    assert all(strict)


def test_every_endpoint_of_the_specification_is_published(world: World) -> None:
    actions = ("release", "refund", "cancel", "accept-short", "dispute", "extend", "ruling", "dismiss")
    assert set(operations(world)) == {
        "POST /api/orders/{order_id}/init-escrow",
        "POST /api/escrows/batch",
        "GET /api/escrows",
        "GET /api/escrows/{escrow_id}",
        *(f"POST /api/escrows/{{escrow_id}}/{action}" for action in actions),
        *(
            f"POST /api/escrows/{{escrow_id}}/payouts/{{number}}/{action}"
            for action in ("resume", "replace", "call-off", "write-off")
        ),
        "POST /api/escrows/{escrow_id}/evidence",
        "GET /api/escrows/{escrow_id}/evidence",
        "POST /admin/escrows/{escrow_id}/rescan",
        "GET /api/events",
        "GET /admin/health",
        "GET /admin/overview",
        "GET /metrics",
        "GET /admin/fleet",
        "POST /admin/fleet/reload",
        "GET /admin/nodes",
        "POST /admin/nodes/{name}/drain",
        "POST /admin/nodes/{name}/resume",
        "GET /livez",
        "GET /readyz",
    }


def test_every_endpoint_with_a_key_declares_that_it_may_be_refused(world: World) -> None:
    for name, operation in operations(world).items():
        if name in ("GET /livez", "GET /readyz"):
            assert "security" not in operation
            continue
        assert operation["security"] == [{"api_key": []}], name
        assert "401" in operation["responses"], name
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                assert set(answer["content"]) == {"application/problem+json"}, (name, status)


def test_every_endpoint_says_what_it_does(world: World) -> None:
    for name, operation in operations(world).items():
        assert operation["summary"], name
        assert operation["description"], name


def test_an_amount_is_published_as_a_string_with_a_pattern(world: World) -> None:
    amount = world.app.openapi()["components"]["schemas"]["NewOrder"]["properties"]["amount"]
    assert amount["type"] == "string"
    assert re.fullmatch(amount["pattern"], "1.25")
    assert not re.fullmatch(amount["pattern"], "1.0000000000001")


def test_every_action_takes_an_idempotency_key(world: World) -> None:
    for name, operation in operations(world).items():
        headers = {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "header"}
        assert ("Idempotency-Key" in headers) == (name.startswith(("POST /api/escrows/", "POST /admin/escrows/"))), name


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


async def test_the_docs_page_shows_every_endpoint_and_asks_nobody_for_anything(world: World) -> None:
    async with world.client(None) as client:
        answer = await client.get("/docs")
        assert (await client.get("/openapi.json")).json() == world.app.openapi()
    assert answer.status_code == 200
    page = _Page()
    page.feed(answer.text)
    for path in world.app.openapi()["paths"]:
        assert path in page.text
    assert not {"script", "link", "img", "iframe", "object", "form"} & {tag for tag, _ in page.tags}
    links = [attributes["href"] or "" for tag, attributes in page.tags if tag == "a"]
    anchors = {attributes.get("id") for _, attributes in page.tags}
    assert "openapi.json" in links
    assert all(link == "openapi.json" or link[1:] in anchors for link in links)
    assert "script-src" not in answer.headers["content-security-policy"]


def test_the_docs_page_escapes_whatever_the_document_holds() -> None:
    evil = '<script>alert("x")</script>'
    document = {
        "info": {"title": evil, "version": "1", "description": evil},
        "paths": {f"/{evil}": {"get": {"tags": [evil], "summary": evil, "responses": {"200": {"description": evil}}}}},
        "components": {"schemas": {evil: {"description": evil, "properties": {evil: {"type": evil}}}}},
    }
    assert "<script" not in docs_page(document)


def test_every_class_of_error_has_a_status_and_what_is_hidden_stays_so() -> None:
    kinds: list[type[EscrowError]] = [EscrowError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
        assert 400 <= status_of(kind) < 600
    codes = statuses_by_code()
    assert codes["wrong_state"] == codes["order_exists"] == 409
    assert codes["invalid_amount"] == codes["invalid_address"] == 422
    assert "process_unreachable" not in codes
    hidden = answer_to(ProcessUnreachableError("http://wallets.example.com:18081", "get_info", "refused"))
    assert (hidden.status_code, b"wallets.example.com" in hidden.body) == (503, False)
    assert b"details" not in answer_to(InvariantError("details")).body
