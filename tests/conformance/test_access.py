"""Who reaches a wallet-rpc process, and who is taken for one: real programs of every version, and impostors."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytest_asyncio

from monero_escrow.core.address import Network
from monero_escrow.monero import rpc
from monero_escrow.monero.access import Access, fresh_access, make_pair
from monero_escrow.monero.errors import (
    CallAbandonedError,
    CallerRefusedError,
    LoginRefusedError,
    TransportError,
    WrongCertificateError,
)
from monero_escrow.monero.ports import RpcVersion
from monero_escrow.monero.processes import ChildProcess, ProgramFailedError, lasting_port, start_wallet_rpc
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.rpc import Credentials
from monero_escrow.monero.tls import pinned_tls, shown_fingerprint
from monero_escrow.monero.wallet_rpc import WalletRpcClient

pytestmark = [pytest.mark.chain, pytest.mark.asyncio(loop_scope="session")]


CONFIG = "wallet-rpc.conf"


@dataclass(frozen=True)
class Guarded:
    """A process that takes calls from one caller, who has `access`."""

    process: ChildProcess
    access: Access
    folder: Path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def guarded(programs: MoneroPrograms, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    access = fresh_access(folder)
    async with await start_wallet_rpc(
        programs, folder, network=Network.TESTNET, daemon_url=None, access=access, config_file=folder / CONFIG
    ) as process:
        yield Guarded(process, access, folder)


async def asked(url: str, login: Credentials | None, tls: ssl.SSLContext | None) -> RpcVersion:
    """Its version, over a connection of its own."""
    client = WalletRpcClient(url, credentials=login, tls=tls)
    try:
        return await client.get_version()
    finally:
        await client.aclose()


async def test_only_who_has_both_the_certificate_and_the_login_is_answered(guarded: Guarded, tmp_path: Path) -> None:
    url, access = guarded.process.url, guarded.access
    make_pair(tmp_path, "stranger")
    nameless = pinned_tls(access.fingerprint)
    stranger = pinned_tls(access.fingerprint, (tmp_path / "stranger.pem", tmp_path / "stranger.key"))
    cases: list[tuple[type[TransportError], str, Credentials | None, ssl.SSLContext | None]] = [
        (CallAbandonedError, url.replace("https", "http"), None, None),
        (CallAbandonedError, url.replace("https", "http"), access.login, None),
        (CallerRefusedError, url, None, nameless),
        (CallerRefusedError, url, access.login, nameless),
        (CallerRefusedError, url, access.login, stranger),
        (LoginRefusedError, url, None, access.tls),
        (LoginRefusedError, url, Credentials(access.login.user, "wrong"), access.tls),
        (LoginRefusedError, url, Credentials("wrong", access.login.password), access.tls),
    ]
    for refused, place, login, tls in cases:
        with pytest.raises(refused):
            await asked(place, login, tls)
    assert (await asked(url, access.login, access.tls)).major == 1


async def test_nothing_that_opens_the_process_is_on_the_disk_or_in_its_words(guarded: Guarded) -> None:
    """Neither its command line, nor its environment, nor any file of its folder, its log above all."""
    words = [_words(guarded.process, name) for name in ("cmdline", "environ")]
    files = _files_in(guarded.folder)
    assert guarded.process.log_file in files
    assert not [file.name for file in files if file.suffix in {".key", ".pem", ".conf", ".login"}]
    for content in [*words, *(file.read_bytes() for file in files)]:
        assert guarded.access.login.password.encode() not in content
        assert b"PRIVATE KEY" not in content
    assert guarded.access.login.password not in repr(guarded.access)


async def test_a_warm_connection_needs_no_second_challenge_and_a_new_one_no_files(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process's nonce is good for the whole connection: the counter goes on, and a call is one round trip."""
    sent: list[str] = []
    note_sent = rpc._note_sent

    async def counted(session: object, context: SimpleNamespace, params: object) -> None:
        sent.append("request")
        await note_sent(session, context, params)

    monkeypatch.setattr(rpc, "_note_sent", counted)
    client = WalletRpcClient(guarded.process.url, credentials=guarded.access.login, tls=guarded.access.tls)
    for calls in range(1, 6):
        await client.get_version()
        assert len(sent) == calls + 1, "only the first call of a connection is asked for its login"
    await client.aclose()
    assert not list(guarded.folder.glob("*.pem"))
    assert (await client.get_version()).major == 1
    await client.aclose()


async def test_another_wallet_rpc_on_the_port_is_not_taken_for_ours_though_it_lets_everybody_in(
    programs: MoneroPrograms, tmp_path: Path
) -> None:
    """Ours has ended, and somebody has started one in its place that asks for nothing and answers everything."""
    port, folder = lasting_port(), tmp_path / "impostor"
    start = partial(start_wallet_rpc, programs, network=Network.TESTNET, daemon_url=None, port=port)
    ours = fresh_access(tmp_path / "ours")
    process = await start(tmp_path / "ours", access=ours)
    client = WalletRpcClient(process.url, credentials=ours.login, tls=ours.tls)
    await client.get_version()
    await process.stop()

    theirs = fresh_access(folder)
    welcoming = tuple(line for line in theirs.settings if "fingerprints" not in line)
    async with await start(folder, access=replace(theirs, settings=welcoming)) as impostor:
        assert (await asked(impostor.url, theirs.login, pinned_tls(theirs.fingerprint))).major == 1
        with pytest.raises(WrongCertificateError) as trouble:
            await client.create_wallet("ours", "battery staple")
        assert shown_fingerprint(theirs.fingerprint) in trouble.value.message
        assert not client.abandoned, "nothing was sent"
        await client.aclose()


async def test_files_of_a_start_that_fails_are_removed_as_well(programs: MoneroPrograms, tmp_path: Path) -> None:
    access = fresh_access(tmp_path)
    on_disk = {file.name: file.stat().st_mode & 0o777 for file in _files_in(tmp_path)}
    assert on_disk == {"process.key": 0o600, "process.pem": 0o600}, "the caller's own key is gone already"
    with pytest.raises(ProgramFailedError, match="no-such-flag"):
        await start_wallet_rpc(
            programs,
            tmp_path,
            network=Network.TESTNET,
            daemon_url=None,
            access=access,
            extra_flags=["--no-such-flag"],
        )
    assert not [file.name for file in _files_in(tmp_path) if file.suffix in {".key", ".pem", ".conf"}]


def _files_in(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def _words(process: ChildProcess, name: str) -> bytes:
    """What the kernel shows of it to others on the machine."""
    return Path(f"/proc/{process.pid}/{name}").read_bytes()
