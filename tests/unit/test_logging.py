"""Redaction: no address, key, message or API key gets into a log line whole, wherever it stands in it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from monero_escrow.telemetry.logging import configure_logging, redact
from unit.rows import address, hex64

SECRETS = {
    "a standard address": address("someone"),
    "an integrated address": address("someone") + "1" * 11,
    "a private key": hex64("private key"),
    "a wallet's password": hex64("password")[:48],
    "a txset": hex64("txset") * 40,
    "a multisig message": "MultisigxV2R" + address("message") + "1Z" * 80,
    "an old multisig message": "MultisigV1" + address("message"),
    "a shop's API key": "me_shop_" + "aB3-_xYz" * 5,
    "an arbiter's API key": "me_arbiter_" + "aB3-_xYz" * 5,
    "an operator's API key": "me_operator_" + "aB3-_xYz" * 5,
}
PLACES = [
    "{}",
    "before {} after",
    "key={}",
    'x{{"key": "{}"}}',
    "('{}',)",
    "monero:{}?tx_amount=1",
    "https://host/{}/path",
    "[{}]",
    "{}.",
    "key_{}",
    "{}_suffix",
]


@pytest.fixture
def _quiet_afterwards() -> Iterator[None]:
    """Logging is the process's own: other tests get it back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    logging.getLogger("monero_escrow").setLevel(logging.NOTSET)
    structlog.reset_defaults()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_is_cut_short_wherever_it_stands(kind: str, place: str) -> None:
    secret = SECRETS[kind]

    shown = redact(place.format(secret))

    assert secret not in shown
    assert secret[10:40] not in shown
    assert secret[-16:] not in shown


def test_a_key_in_programmers_hex_is_cut_short() -> None:
    assert hex64("key")[10:] not in redact(f"0x{hex64('key')}")


@pytest.mark.parametrize("password", ["hunter2", "p@ss:w?rd", "%2F%40"])
def test_of_a_urls_login_nothing_is_left(password: str) -> None:
    shown = redact(f"connection to postgresql://escrow:{password}@db:5432/escrow failed")
    assert shown == "connection to postgresql://…@db:5432/escrow failed"


@pytest.mark.usefixtures("_quiet_afterwards")
@pytest.mark.parametrize("level", ["debug", "info", "warning"])
def test_at_any_level_libraries_say_only_what_is_wrong(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level, "text")
    names = ("httpx", "httpcore", "uvicorn.access", "uvicorn.error", "sqlalchemy.engine", "alembic", "psycopg", "new")
    for name in names:
        logging.getLogger(name).debug("chatter")
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("trouble of %s", name)
    structlog.get_logger("monero_escrow.a_test").debug("a call")

    lines = logged(capsys)
    assert "chatter" not in lines
    assert lines.count("trouble of") == len(names)
    assert ("a call" in lines) == (level == "debug")


def test_two_secrets_in_one_line_are_both_cut_short() -> None:
    shown = redact(f"{hex64('a')} pays {address('b')}, {hex64('c')}")

    assert not any(secret in shown for secret in (hex64("a"), address("b"), hex64("c")))
    assert " pays " in shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "An escrow that is funded does not take 'extend'.",
        "set-up of 5f2b8e0c9a1d4e6f7a8b9c0d",
        "buyer@127.0.0.1:18082",
        "45UVHo…SQDQ",
        "1250000000000 piconero",
        "https://host/api/escrows/5f2b8e0c9a1d4e6f7a8b9c0d/release",
        "monero_escrow.store.store.SqlStore",
        "some_shop_id and fame_operator_x",
        "0af7651916cd43dd8448eb211c80319c",
        "https://host:8080/path?mail=a@b",
    ],
)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def logged(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


@pytest.mark.usefixtures("_quiet_afterwards")
@pytest.mark.parametrize("style", ["text", "json"])
def test_no_log_line_holds_a_secret_from_its_event_fields_nested_values_or_traceback(
    style: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", style)  # type: ignore[arg-type]
    log = structlog.get_logger("monero_escrow.a_test")
    secret = hex64("secret")

    log.info(f"event {secret}", field=secret)
    log.info("nested", detail={"key": secret, "list": [secret, (secret,)]})
    log.info("an object", error=ValueError(secret))
    log.info("bytes", raw=secret.encode())
    log.info("a key of a dictionary", detail={secret: 1})
    logging.getLogger("a library").warning("arguments %s and %r", secret, {"key": secret})
    try:
        raise ValueError(secret)  # noqa: TRY301
    except ValueError:
        log.exception("failed")
        logging.getLogger("a library").exception("failed")

    lines = logged(capsys)
    assert secret not in lines
    assert lines.count(secret[:6]) >= 9
    assert "Traceback" in lines


@pytest.mark.usefixtures("_quiet_afterwards")
def test_a_traceback_shows_no_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "text")

    def fails(password: str) -> None:
        raise ValueError(str(len(password)))

    password = "-".join(["hunter2"] * 2)
    try:
        fails(password)
    except ValueError:
        structlog.get_logger("monero_escrow.a_test").exception("failed")

    lines = logged(capsys)
    assert "Traceback" in lines
    assert password not in lines


@pytest.mark.usefixtures("_quiet_afterwards")
def test_json_lines_carry_level_time_logger_and_the_bound_escrow(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")

    with structlog.contextvars.bound_contextvars(escrow_id="5f2b"):
        structlog.get_logger("monero_escrow.a_test").warning("step_failed", failures=2)
        structlog.get_logger("monero_escrow.a_test").debug("not shown")

    (line,) = logged(capsys).splitlines()
    found = json.loads(line)
    assert {name: found[name] for name in ("event", "level", "logger", "escrow_id", "failures")} == {
        "event": "step_failed", "level": "warning", "logger": "monero_escrow.a_test", "escrow_id": "5f2b",
        "failures": 2,
    }  # fmt: skip
    assert found["timestamp"].endswith("Z")
