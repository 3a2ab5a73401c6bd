"""Logs: one line an event, for people or as JSON, with the request's or escrow's id, and never a secret.

Callers log shortened addresses and txids; `redact` is the net beneath: whatever looks like an address, a key, a seed
or a multisig message is cut short before it is written, also in what libraries log.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal

import structlog
from structlog.typing import Processor

# Addresses (95 or 106 characters of Base58), keys and txids (64 hex), wallets' passwords (48), multisig messages, API
# keys. Ids have 24 hex digits, a caller's own request id often 32.
_SENSITIVE = re.compile(
    r"Multisigx?V\w+|(?<![A-Za-z])me_(?:shop|arbiter|operator)_[\w-]+|[0-9a-fA-F]{40,}|[1-9A-HJ-NP-Za-km-z]{90,}"
)
_LOGIN = re.compile(r"(?<=://)[^/\s@]*:[^/\s]*@")
_SHOWN = 6
_OURS = "monero_escrow"


def redact(text: str) -> str:
    """The text with everything that could be a secret or a full address cut to its first characters.

    Of a URL's user and password nothing is left.
    """
    return _SENSITIVE.sub(lambda found: f"{found.group()[:_SHOWN]}…", _LOGIN.sub("…@", text))


def _redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if not name.startswith("_"):  # structlog's own, taken out before the line is written
            event[name] = _redacted(value)
    return event


def _redacted(value: object) -> object:
    """The value with every text in it redacted; what is no plain value is written as its redacted text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {redact(str(key)): _redacted(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(inner) for inner in value]
    return redact(str(value))


def configure_logging(level: str, style: Literal["text", "json"]) -> None:
    """Send structlog's and the libraries' logs to standard error in one shape.

    The level is that of our own lines. Libraries say what is wrong and no more, whatever it is: what they tell at
    `info` and `debug`, such as statements, headers and addresses, is theirs to choose.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.format_exc_info,  # plain text without local variables, which hold keys and passwords
        _redact_event,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    ours, of_libraries = level.upper(), "ERROR" if level == "error" else "WARNING"
    root.setLevel(of_libraries)
    logging.getLogger(_OURS).setLevel(ours)
    for chatty in ("uvicorn.access", "uvicorn.error", "aiohttp", "alembic", "asyncio"):
        logging.getLogger(chatty).setLevel(of_libraries)  # they may have been given a level of their own
