"""The settings: where they come from, and every bad one refused by name, with nothing secret in what is said."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from monero_escrow.config import Settings, SettingsError, load_settings
from monero_escrow.core.address import Network

KEY = bytes(range(200, 232))
URLS = "http://127.0.0.1:18082,http://127.0.0.1:18083,http://127.0.0.1:18084"


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting from the environment, and a working directory without an `.env`."""
    for name in list(os.environ):
        if name.lower() in Settings.model_fields or name == "MONERO_ESCROW_CONFIG":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


def refusal() -> str:
    """What is said about the settings as they are; nothing of it may be another error's text."""
    with pytest.raises(SettingsError) as caught:
        load_settings().master_key()
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return caught.value.message


# Where they come from


def test_without_any_setting_the_defaults_are_those_of_the_documentation() -> None:
    settings = load_settings()

    assert settings.monero_network is Network.STAGENET
    assert (settings.server_host, settings.server_port) == ("127.0.0.1", 8080)
    assert (settings.deposit_confirmations, settings.payout_confirmations) == (10, 10)
    assert settings.monero_rpc_urls == ()
    assert settings.monero_daemon_url is None
    assert settings.database_path == Path("data/escrow.db")


def test_the_environment_wins_over_the_named_file_and_that_over_dot_env(
    setting: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("SERVER_PORT=1\nDEPOSIT_CONFIRMATIONS=2\nPAYOUT_CONFIRMATIONS=3\n")
    (tmp_path / "named").write_text("SERVER_PORT=4\nDEPOSIT_CONFIRMATIONS=5\n")
    setting.setenv("MONERO_ESCROW_CONFIG", str(tmp_path / "named"))
    setting.setenv("SERVER_PORT", "6")

    settings = load_settings()

    assert (settings.server_port, settings.deposit_confirmations, settings.payout_confirmations) == (6, 5, 3)


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_says_what_it_is(name: str) -> None:
    description = Settings.model_fields[name].description

    assert description
    assert description.endswith(".")


# The wallet processes


def test_urls_are_a_comma_separated_list_and_spaces_and_trailing_slashes_do_not_matter(
    setting: pytest.MonkeyPatch,
) -> None:
    setting.setenv("MONERO_RPC_URLS", " http://127.0.0.1:18082/ , https://a.example:18083,http://[::1]:18084, ")

    assert load_settings().monero_rpc_urls == (
        "http://127.0.0.1:18082",
        "https://a.example:18083",
        "http://[::1]:18084",
    )


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_processes_are_refused(setting: pytest.MonkeyPatch, count: int) -> None:
    setting.setenv("MONERO_RPC_URLS", ",".join(URLS.split(",")[:count]))

    assert f"MONERO_RPC_URLS: an escrow needs three processes (buyer, vendor, arbiter), and {count}" in refusal()


@pytest.mark.parametrize(
    "again",
    ["http://127.0.0.1:18082", "http://127.0.0.1:18082/", "https://127.0.0.1:18082", "HTTP://127.0.0.1:18082"],
)
def test_a_process_that_is_listed_twice_is_refused_however_it_is_spelt(setting: pytest.MonkeyPatch, again: str) -> None:
    """Two slots on one process would open two wallets in it at once."""
    setting.setenv("MONERO_RPC_URLS", f"{URLS},{again}")

    said = refusal()

    assert said.startswith("MONERO_RPC_URLS: ")
    assert "listed twice: each process serves one slot" in said


def test_a_host_name_in_other_letters_is_the_same_process(setting: pytest.MonkeyPatch) -> None:
    setting.setenv("MONERO_RPC_URLS", f"{URLS},http://wallets.example:1,http://Wallets.Example:1")

    assert "http://Wallets.Example:1, http://wallets.example:1 is listed twice" in refusal()


MALFORMED = [
    "127.0.0.1:18085",
    "localhost",
    "ftp://127.0.0.1:18085",
    "http://",
    "http://:18085",
    "http://127.0.0.1",
    "http://127.0.0.1:",
    "http://127.0.0.1:0",
    "http://127.0.0.1:port",
    "http://127.0.0.1:99999",
    "http://127.0.0.1:-1",
    "http://127.0.0.1:18085/json_rpc",
    "http://127.0.0.1:18085?x=1",
    "http://127.0.0.1:18085#x",
    "http://[::1:18085",
]


@pytest.mark.parametrize("url", MALFORMED)
def test_what_is_no_url_of_a_process_is_refused_by_name(setting: pytest.MonkeyPatch, url: str) -> None:
    setting.setenv("MONERO_RPC_URLS", f"{URLS},{url}")

    assert f"MONERO_RPC_URLS: {url.rstrip('/')} is not of the form http://HOST:PORT." in refusal()


@pytest.mark.parametrize("url", MALFORMED)
def test_what_is_no_url_of_a_daemon_is_refused_too(setting: pytest.MonkeyPatch, url: str) -> None:
    setting.setenv("MONERO_DAEMON_URL", url)

    assert "MONERO_DAEMON_URL: is not of the form http://HOST:PORT." in refusal()


@pytest.mark.parametrize("name", ["MONERO_RPC_URLS", "MONERO_DAEMON_URL"])
@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@127.0.0.1:18085",
        "http://hunter2@127.0.0.1:18085",
        "http://user:hunter2@127.0.0.1",
        "user:hunter2@127.0.0.1:18085",
        "http://user:hun@ter2@127.0.0.1:18085",
    ],
)
def test_logins_in_urls_are_refused_and_not_repeated(setting: pytest.MonkeyPatch, name: str, url: str) -> None:
    setting.setenv(name, f"{URLS},{url}" if name == "MONERO_RPC_URLS" else url)

    said = refusal()

    assert f"{name}: " in said
    assert "login" in said
    assert not any(part in said for part in ("hunter2", "hun@ter2", "ter2", "user"))


def test_the_login_is_user_and_password_and_is_not_repeated(setting: pytest.MonkeyPatch) -> None:
    setting.setenv("MONERO_RPC_LOGIN", "hunter2")

    said = refusal()

    assert "MONERO_RPC_LOGIN: must be user:password." in said
    assert "hunter2" not in said


# The database key

SPELLINGS = {
    "hex": KEY.hex(),
    "capital hex": KEY.hex().upper(),
    "base64": base64.b64encode(KEY).decode(),
    "hex with a line break": KEY.hex() + "\n",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_key_is_read_in_hex_and_base64_from_the_environment_and_from_a_file(
    setting: pytest.MonkeyPatch, tmp_path: Path, spelling: str
) -> None:
    setting.setenv("DB_ENCRYPTION_KEY", SPELLINGS[spelling])
    assert load_settings().master_key() == KEY

    setting.delenv("DB_ENCRYPTION_KEY")
    (tmp_path / "key").write_text(SPELLINGS[spelling])
    setting.setenv("DB_ENCRYPTION_KEY_FILE", str(tmp_path / "key"))
    assert load_settings().master_key() == KEY


BAD_KEYS = {
    "one digit short": KEY.hex()[:-1],
    "one digit more": KEY.hex() + "0",
    "16 bytes": KEY[:16].hex(),
    "64 bytes": (KEY + KEY).hex(),
    "not hex": KEY.hex()[:-1] + "g",
    "hex with a space": KEY.hex()[:62] + " 0",
    "base64 of 31 bytes": base64.b64encode(KEY[:31]).decode(),
    "base64 of 33 bytes": base64.b64encode(KEY + b"x").decode(),
    "base64 without its padding": base64.b64encode(KEY).decode().rstrip("="),
    "base64 of another alphabet": base64.urlsafe_b64encode(b"\xff" * 32).decode(),
    "a passphrase": "correct horse battery staple",
    "letters beyond ASCII": "kéy" * 20,
}


@pytest.mark.parametrize("bad", BAD_KEYS)
def test_a_key_that_is_not_256_bits_is_refused_and_not_repeated(
    setting: pytest.MonkeyPatch, tmp_path: Path, bad: str
) -> None:
    setting.setenv("DB_ENCRYPTION_KEY", BAD_KEYS[bad])
    from_environment = refusal()
    setting.delenv("DB_ENCRYPTION_KEY")
    (tmp_path / "key").write_text(BAD_KEYS[bad])
    setting.setenv("DB_ENCRYPTION_KEY_FILE", str(tmp_path / "key"))

    for said in (from_environment, refusal()):
        assert "not 256 bits" in said
        assert BAD_KEYS[bad] not in said


@pytest.mark.parametrize("content", [b"", b"\n", KEY, KEY + KEY, "ключ".encode()])
def test_a_key_file_that_holds_no_key_is_refused(setting: pytest.MonkeyPatch, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    setting.setenv("DB_ENCRYPTION_KEY_FILE", str(tmp_path / "key"))

    assert "not 256 bits" in refusal()


@pytest.mark.parametrize(("name", "reason"), [("missing", "No such file"), (".", "Is a directory")])
def test_a_key_file_that_cannot_be_read_is_refused_with_the_reason(
    setting: pytest.MonkeyPatch, tmp_path: Path, name: str, reason: str
) -> None:
    setting.setenv("DB_ENCRYPTION_KEY_FILE", str(tmp_path / name))

    assert f"DB_ENCRYPTION_KEY_FILE cannot be read: {reason}" in refusal()


def test_a_key_and_a_key_file_together_are_refused(setting: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY.hex())
    setting.setenv("DB_ENCRYPTION_KEY", KEY.hex())
    setting.setenv("DB_ENCRYPTION_KEY_FILE", str(tmp_path / "key"))

    said = refusal()

    assert "set one of DB_ENCRYPTION_KEY, DB_ENCRYPTION_KEY_FILE and DB_ENCRYPTION_KEY_COMMAND" in said
    assert KEY.hex() not in said


def test_without_a_key_nothing_is_ever_written_in_the_clear_and_it_is_said_how_to_make_one() -> None:
    with pytest.raises(SettingsError, match="DB_ENCRYPTION_KEY is not set") as caught:
        load_settings().master_key()

    assert "openssl rand -hex 32" in caught.value.what_to_do


def test_no_way_of_printing_the_settings_shows_a_secret(setting: pytest.MonkeyPatch) -> None:
    setting.setenv("DB_ENCRYPTION_KEY", KEY.hex())
    setting.setenv("MONERO_RPC_LOGIN", "user:hunter2")
    settings = load_settings()

    for shown in (repr(settings), str(settings), settings.model_dump_json(), repr(settings.model_dump())):
        assert KEY.hex() not in shown
        assert "hunter2" not in shown


# Everything else


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MONERO_NETWORK", "moonnet"),
        ("MONERO_RESTORE_HEIGHT", "-1"),
        ("SERVER_PORT", "65536"),
        ("SERVER_PORT", "-1"),
        ("SERVER_PORT", "http"),
        ("DEPOSIT_CONFIRMATIONS", "0"),
        ("DEPOSIT_CONFIRMATIONS", "1.5"),
        ("PAYOUT_CONFIRMATIONS", "0"),
        ("DEPOSIT_WINDOW_SECONDS", "0"),
        ("DEPOSIT_WINDOW_SECONDS", "inf"),
        ("DEPOSIT_WINDOW_SECONDS", "nan"),
        ("DUST_PICONERO", "-1"),
        ("DUST_PICONERO", "0.5"),
        ("MOST_FEE_PICONERO", "0"),
        ("FEE_PRIORITY", "0"),
        ("FEE_PRIORITY", "5"),
        ("LATE_COINS", "keep"),
        ("CHAIN_POLL_SECONDS", "0"),
        ("DEPOSIT_SWEEP_SECONDS", "-1"),
        ("LEASE_WAIT_SECONDS", "0"),
        ("QUARANTINE_SECONDS", "-1"),
        ("REQUEST_WAIT_SECONDS", "never"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_settings_name(
    setting: pytest.MonkeyPatch, name: str, value: str
) -> None:
    setting.setenv(name, value)

    assert refusal().startswith(f"{name}: ")


def test_all_that_is_wrong_is_told_at_once(setting: pytest.MonkeyPatch) -> None:
    setting.setenv("SERVER_PORT", "x")
    setting.setenv("MONERO_RPC_URLS", "x")

    said = refusal()

    assert "SERVER_PORT: " in said
    assert "MONERO_RPC_URLS: " in said


def test_settings_cannot_be_changed_once_they_are_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().server_port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("written", "used"),
    [
        ("postgres://u:p@db.example.com/escrow", "postgresql://u:p@db.example.com/escrow"),
        ("postgresql:///escrow?host=/run/postgresql", "postgresql:///escrow?host=/run/postgresql"),
        (" postgresql://u@/escrow?host=a,b ", "postgresql://u@/escrow?host=a,b"),
    ],
)
def test_a_database_url_stays_as_it_is_but_for_the_name_of_its_scheme(written: str, used: str) -> None:
    url = load_settings(database_url=written).database_url
    assert url is not None
    assert url.get_secret_value() == used
