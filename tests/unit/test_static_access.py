"""MONERO_RPC_CREDENTIALS_FILE: what it may say, and what is refused before the first connection and never shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from monero_escrow.cli.doctor import doctor
from monero_escrow.config import Settings, SettingsError, load_settings
from monero_escrow.monero.access import make_pair
from monero_escrow.monero.rpc import Credentials
from monero_escrow.monero.static_access import StaticAccess, access_of
from monero_escrow.service import slots_of
from unit.command_line import set_environment

HERE = ("http://127.0.0.1:18082", "https://localhost:18083", "http://[::1]:18084")
THERE = "https://wallets.example.com:18085"
PIN = ":".join(["AB"] * 32)


class Desk:
    """Where an operator writes the file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "wallets.toml"
        make_pair(folder, "client")
        make_pair(folder, "other")
        key = load_pem_private_key((folder / "client.key").read_bytes(), None)
        locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2"))
        (folder / "locked.key").write_bytes(locked)
        (folder / "locked.key").chmod(0o600)

    def settings(self, *urls: str, text: str | None = None, mode: int = 0o600, **more: object) -> Settings:
        if text is not None:
            self.file.write_text(text)
            self.file.chmod(mode)
            more["monero_rpc_credentials_file"] = self.file
        return load_settings(monero_rpc_urls=",".join([*HERE, *urls]), data_dir=self.folder, **more)

    def refusal(self, *urls: str, text: str | None = None, **more: object) -> str:
        with pytest.raises(SettingsError) as refused:
            access_of(self.settings(*urls, text=text, **more))  # type: ignore[arg-type]
        return f"{refused.value.message} {refused.value.what_to_do}"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def of_there(*lines: str) -> str:
    return "\n".join([f'["{THERE}"]', f'server_fingerprint = "{PIN}"', *lines])


def test_without_a_file_processes_of_this_machine_need_nothing(desk: Desk) -> None:
    assert access_of(desk.settings()) == dict.fromkeys(HERE, StaticAccess())


def test_the_login_of_all_is_for_those_that_have_none_of_their_own(desk: Desk) -> None:
    text = f'["{HERE[0]}/"]\nlogin = "own:with:colons"\n'
    found = access_of(desk.settings(text=text, monero_rpc_login="all:common"))
    assert found[HERE[0]].login == Credentials("own", "with:colons")
    assert found[HERE[1]].login == found[HERE[2]].login == Credentials("all", "common")


def test_a_process_elsewhere_is_known_by_its_fingerprint_and_knows_us_by_our_certificate(desk: Desk) -> None:
    text = of_there('login = "u:p"', 'client_certificate = "client.pem"', 'client_key = "client.key"')
    found = access_of(desk.settings(THERE, text=text))[THERE]
    assert found.login == Credentials("u", "p")
    assert found.server_fingerprint == b"\xab" * 32
    assert found.tls is not None
    (slot,) = (slot for slot in slots_of(desk.settings(THERE, text=text)) if slot.rpc.url == THERE)
    assert slot.access == found
    assert "'u'" not in repr(slot)


def test_a_new_key_in_the_same_file_is_another_access(desk: Desk) -> None:
    text = of_there('client_certificate = "client.pem"', 'client_key = "client.key"')
    before = access_of(desk.settings(THERE, text=text))
    assert access_of(desk.settings(THERE, text=text)) == before
    for kind in ("pem", "key"):
        (desk.folder / f"other.{kind}").rename(desk.folder / f"client.{kind}")
    after = access_of(desk.settings(THERE, text=text))
    assert {url for url in after if after[url] != before[url]} == {THERE}


@pytest.mark.parametrize(
    "url", ["http://wallets.example.com:18082", "http://wallets2.example.com:18082", "http://127.0.0.1.example:1"]
)
def test_plain_http_goes_to_this_machine_alone(desk: Desk, url: str) -> None:
    said = desk.refusal(url)
    assert f"{url} is plain HTTP to another machine" in said
    assert "MONERO_RPC_CREDENTIALS_FILE" in said


def test_a_certificate_elsewhere_that_is_not_known_is_refused(desk: Desk) -> None:
    assert f"{THERE} is on another machine, and its certificate is not known" in desk.refusal(THERE)
    assert "not known" in desk.refusal(THERE, text=f'["{THERE}"]\nlogin = "u:p"')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('["https://a:1"]\nlogin = hunter2', "is not TOML (at line 2, column 9)"),
        ('login = "u:p"', "login is no table"),
        (of_there('password = "p"'), f"{THERE}: password is none of login, server_fingerprint"),
        (of_there("login = 7"), f"{THERE}: login is no text in quotes"),
        (of_there('login = ""'), f"{THERE}: login is no text in quotes"),
        (of_there('login = "hunter2"'), f"{THERE}: login must be user:password"),
        (f'["{THERE}"]\nserver_fingerprint = "AB:CD"', "server_fingerprint is no SHA-256 fingerprint"),
        (of_there('client_certificate = "client.pem"'), "client_certificate and client_key belong together"),
        (of_there('client_certificate = "client.pem"', 'client_key = "none.key"'), "none.key cannot be read: No such"),
        (of_there('client_certificate = "none.pem"', 'client_key = "client.key"'), "cannot be used: they are PEM"),
        (of_there('client_certificate = "other.pem"', 'client_key = "client.key"'), "of one pair"),
        (of_there('client_certificate = "client.pem"', 'client_key = "locked.key"'), "without a passphrase"),
        (of_there() + '\n["https://unlisted:1"]\n', "https://unlisted:1 is not in MONERO_RPC_URLS"),
        (of_there() + f'\n["{HERE[0]}"]\nserver_fingerprint = "{PIN}"', "certificates are for https:// URLs"),
        (
            of_there() + f'\n["{HERE[1]}"]\nclient_certificate = "client.pem"\nclient_key = "client.key"',
            "client_certificate needs server_fingerprint beside it",
        ),
    ],
)
def test_a_mistake_in_the_file_is_named(desk: Desk, text: str, said: str) -> None:
    refusal = desk.refusal(THERE, text=text)
    assert said in refusal
    assert "hunter2" not in refusal
    assert "MONERO_RPC_CREDENTIALS_FILE" in refusal


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_file_that_others_can_open_is_refused(desk: Desk, mode: int) -> None:
    assert "others on this machine can open it. chmod 600" in desk.refusal(THERE, text=of_there(), mode=mode)
    (desk.folder / "client.key").chmod(mode)
    text = of_there('client_certificate = "client.pem"', 'client_key = "client.key"')
    assert "client_key" in desk.refusal(THERE, text=text)


def test_a_file_that_is_not_there_or_not_text_is_refused(desk: Desk) -> None:
    assert "cannot be read: No such file" in desk.refusal(monero_rpc_credentials_file=desk.folder / "none.toml")
    desk.file.write_bytes(b"\xff\xfe")
    desk.file.chmod(0o600)
    assert "is not UTF-8" in desk.refusal(monero_rpc_credentials_file=desk.file)


def test_doctor_names_what_is_wrong_and_looks_at_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_environment(monkeypatch, tmp_path, MONERO_RPC_URLS=",".join([*HERE[:2], "http://wallets.example.com:18082"]))
    assert doctor(json_output=True) == 1
    findings = {one["what"]: one for one in json.loads(capsys.readouterr().out)}
    assert "plain HTTP to another machine" in findings["wallet processes"]["message"]
    assert {"settings", "database", "daemon"} <= findings.keys()
