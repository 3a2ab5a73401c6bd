"""GET /docs: the OpenAPI document as one page to read, made here, without a script and without any other request.

The usual page loads its program from a foreign host whenever it is opened: somebody else's code beside an operator's
keys. This one is plain HTML under a policy that lets nothing else in. It shows what /openapi.json says, no more.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code,pre{font-family:ui-monospace,monospace;font-size:.9em}pre{background:#8881;padding:.6rem;overflow:auto}"
    "details{border:1px solid #8885;border-radius:4px;margin:.4rem 0;padding:.3rem .7rem}summary{cursor:pointer}"
    "table{border-collapse:collapse;width:100%}td,th{border-top:1px solid #8885;padding:.2rem .5rem;text-align:left;"
    "vertical-align:top}.method{display:inline-block;min-width:3.2em;font-weight:bold}"
    ":root{color-scheme:light dark}"
)
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; "
    "frame-ancestors 'none'"
)

_Node = Mapping[str, Any]


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """The API, for people."""
    return HTMLResponse(docs_page(request.app.openapi()), headers={"Content-Security-Policy": _POLICY})


def docs_page(document: _Node) -> str:
    """The HTML of an OpenAPI document."""
    title = f"{document['info']['title']} {document['info']['version']}"
    body = "\n".join([*_head(document, title), *_operations(document), *_schemas(document)])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>{body}</body></html>'
    )


def _head(document: _Node, title: str) -> Iterator[str]:
    yield f"<h1>{escape(title)}</h1>{_text(document['info'].get('description', ''))}"
    for scheme in document["components"].get("securitySchemes", {}).values():
        yield f"<p>Send <code>Authorization: Bearer KEY</code>. {escape(scheme.get('description', ''))}</p>"
    yield '<p>The same for programs: <a href="openapi.json">openapi.json</a>.</p>'


def _operations(document: _Node) -> Iterator[str]:
    by_tag: dict[str, list[str]] = {tag["name"]: [] for tag in document.get("tags", [])}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            by_tag.setdefault(operation["tags"][0], []).append(_operation(document, method, path, operation))
    descriptions = {tag["name"]: tag.get("description", "") for tag in document.get("tags", [])}
    for tag, shown in by_tag.items():
        yield f"<h2>{escape(tag.capitalize())}</h2>{_text(descriptions.get(tag, ''))}{''.join(shown)}"


def _operation(document: _Node, method: str, path: str, operation: _Node) -> str:
    parts = [
        f'<details><summary><span class="method">{escape(method.upper())}</span> <code>{escape(path)}</code> '
        f"{escape(operation.get('summary', ''))}</summary>{_text(operation.get('description', ''))}"
    ]
    parameters = [
        (parameter["name"], parameter["in"], _type(parameter["schema"]), parameter.get("description", ""))
        for parameter in operation.get("parameters", [])
    ]
    parts += _table(("parameter", "in", "type", ""), parameters)
    if (body := operation.get("requestBody")) is not None:
        schema = body["content"]["application/json"]["schema"]
        parts.append(f"<p>Body: {_type(schema)}{'' if body.get('required') else ', may be left out'}</p>")
        example = _resolved(document, schema).get("example")
        if example is not None:
            parts.append(f"<pre>{escape(json.dumps(example, indent=2))}</pre>")
    answers = [
        (status, _answer_type(answer), answer.get("description", ""))
        for status, answer in operation["responses"].items()
    ]
    return "".join([*parts, *_table(("status", "body", ""), answers), "</details>"])


def _schemas(document: _Node) -> Iterator[str]:
    yield "<h2>Shapes</h2>"
    for name, schema in sorted(document["components"]["schemas"].items()):
        required = schema.get("required", [])
        fields = [
            (field, _type(of), "" if field in required else "optional", of.get("description", ""))
            for field, of in schema.get("properties", {}).items()
        ]
        values = f"<p>{escape(', '.join(map(str, schema['enum'])))}</p>" if "enum" in schema else ""
        table = "".join(_table(("field", "type", "", ""), fields))
        yield (
            f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
            f"{_text(schema.get('description', ''))}{values}{table}</details>"
        )


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """A table, unless it is empty. Cells are text, or HTML that was made here: types are links."""
    if rows:
        head = "".join(f"<th>{escape(text)}</th>" for text in heads)
        lines = (f"<tr>{''.join(f'<td>{_cell(text)}</td>' for text in row)}</tr>" for row in rows)
        yield f"<table><tr>{head}</tr>{''.join(lines)}</table>"


class _Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def _cell(text: str) -> str:
    return text if isinstance(text, _Html) else escape(text)


def _text(text: str) -> str:
    return "".join(f"<p>{escape(paragraph)}</p>" for paragraph in text.split("\n\n") if paragraph.strip())


def _answer_type(answer: _Node) -> str:
    return next((_type(content["schema"]) for content in answer.get("content", {}).values()), "")


def _type(schema: _Node) -> _Html:
    """A schema in a few words, with a link to the shape it names."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return _Html(f'<a href="#{name}">{name}</a>')
    if "anyOf" in schema:
        return _Html(" or ".join(_type(option) for option in schema["anyOf"]))
    if schema.get("type") == "array":
        return _Html(f"list of {_type(schema['items'])}")
    return _Html(escape(str(schema.get("format") or schema.get("type", "any"))))


def _resolved(document: _Node, schema: _Node) -> _Node:
    """The shape that a schema names, the first of several."""
    named = next((option for option in (schema, *schema.get("anyOf", [])) if "$ref" in option), None)
    if named is None:
        return schema
    found: _Node = document["components"]["schemas"][named["$ref"].rpartition("/")[2]]
    return found
