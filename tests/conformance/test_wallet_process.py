"""One wallet-rpc process and the wallets it opens: what is pinned here, the pool and the recovery rely on."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import pytest
import pytest_asyncio

from conformance.conftest import StartOffline
from monero_escrow.monero.errors import (
    InvalidFilenameError,
    NoWalletOpenError,
    UncaughtInsideMoneroError,
    UnknownMethodError,
    WalletExistsError,
    WalletFileLockedError,
    WalletFileMissingError,
    WrongAddressError,
    WrongPasswordError,
)
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.rpc import RpcConnection
from monero_escrow.monero.versions import LEAST_FOR_MAINNET, abilities_of, probe_version
from monero_escrow.monero.wallet_rpc import WalletRpcClient

pytestmark = [pytest.mark.chain, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def opened(start_offline: StartOffline) -> tuple[WalletRpcClient, str, str]:
    """A process with a wallet that every test leaves open; its name and password."""
    _, client = await start_offline()
    name, password = f"w-{secrets.token_hex(6)}", secrets.token_hex(8)
    await client.create_wallet(name, password)
    return client, name, password


async def test_a_process_says_at_least_which_version_it_is_and_what_it_can(
    offline: WalletRpcClient, programs: MoneroPrograms
) -> None:
    probed = await probe_version(offline)

    assert probed.at_least <= programs.version
    assert (probed.at_least >= LEAST_FOR_MAINNET) == (programs.version >= LEAST_FOR_MAINNET)
    assert probed.abilities == abilities_of(programs.version)


async def test_probing_leaves_a_wallet_that_is_open_as_it_was(opened: tuple[WalletRpcClient, str, str]) -> None:
    client = opened[0]
    before = await client.get_address()
    await probe_version(client)
    assert await client.get_address() == before


async def test_every_call_on_a_wallet_says_so_when_nothing_is_open(offline: WalletRpcClient) -> None:
    for call in (
        offline.get_address(),
        offline.is_multisig(),
        offline.prepare_multisig(),
        offline.make_multisig(["x", "y"], threshold=2, password="p"),
        offline.exchange_multisig_keys(["x", "y"], password="p"),
        offline.export_multisig_info(),
        offline.import_multisig_info(["00"]),
        offline.sign_multisig("00"),
        offline.submit_multisig("00"),
        offline.transfer([("x", 1)], priority=1),
        offline.sweep_all("x", priority=1),
        offline.describe_transfer("00"),
        offline.freeze("00" * 32),
        offline.store(),
        offline.close_wallet(),
        offline.refresh(),
        offline.get_balance(),
        offline.incoming_transfers(),
        offline.get_transfers(pool=True),
        offline.query_key("mnemonic"),
    ):
        with pytest.raises(NoWalletOpenError):
            await call


async def test_automatic_refresh_is_switched_for_the_process_and_needs_no_wallet(offline: WalletRpcClient) -> None:
    await offline.auto_refresh(False)


async def test_a_wallet_is_not_made_twice(opened: tuple[WalletRpcClient, str, str]) -> None:
    client, name, password = opened
    address = await client.get_address()
    with pytest.raises(WalletExistsError) as refusal:
        await client.create_wallet(name, password)
    assert refusal.value.rpc_code == -21
    assert await client.get_address() == address


async def test_a_failed_opening_says_why_and_leaves_the_earlier_wallet_open(
    opened: tuple[WalletRpcClient, str, str],
) -> None:
    client, name, password = opened
    other = f"other-{secrets.token_hex(6)}"
    first = await client.get_address()
    await client.create_wallet(other, "other's")
    second = await client.get_address()
    assert second != first

    with pytest.raises(WrongPasswordError):
        await client.open_wallet(name, "wrong")
    with pytest.raises(WalletFileMissingError):
        await client.open_wallet(f"missing-{secrets.token_hex(6)}", "p")
    assert await client.get_address() == second

    await client.open_wallet(name, password)
    assert await client.get_address() == first


@pytest.mark.parametrize("filename", ["../escape", "a/b", "/etc/wallet", "", ".", "a\nb", "x" * 200])
async def test_a_file_name_is_never_a_path_nor_empty(offline: WalletRpcClient, filename: str) -> None:
    with pytest.raises(InvalidFilenameError):
        await offline.create_wallet(filename, "p")
    with pytest.raises(NoWalletOpenError):
        await offline.get_address()


async def test_the_program_itself_refuses_a_path_too(offline: WalletRpcClient) -> None:
    raw = RpcConnection(offline.url)
    params = {"filename": "../escape", "password": "p", "language": "English"}
    with pytest.raises(InvalidFilenameError):
        await raw.call("create_wallet", params, limit_seconds=60)
    await raw.aclose()


async def test_a_wallet_open_elsewhere_is_locked_until_it_is_opened_where_it_is_open_already(
    start_offline: StartOffline, tmp_path: Path
) -> None:
    """Why a slot closes its wallet before it opens one: opening an open wallet again loses its lock."""
    (_, one), (_, other) = await asyncio.gather(start_offline(tmp_path), start_offline(tmp_path))
    await one.create_wallet("shared", "p")
    with pytest.raises(WalletFileLockedError):
        await other.open_wallet("shared", "p")

    await one.open_wallet("shared", "p")
    await other.open_wallet("shared", "p")

    for client in (one, other):
        await client.close_wallet(store=False)


async def test_keys_of_no_address_are_refused(offline: WalletRpcClient) -> None:
    with pytest.raises(WrongAddressError):
        await offline.generate_from_keys(
            filename="n", password="p", address="nonsense", spend_key="00" * 32, view_key="00" * 32, restore_height=0
        )


async def test_what_is_closed_without_storing_is_still_the_same_wallet(
    opened: tuple[WalletRpcClient, str, str],
) -> None:
    client, name, password = opened
    address = await client.get_address()
    secrets_before = [await client.query_key(kind) for kind in ("spend_key", "view_key", "mnemonic")]
    await client.close_wallet(store=False)
    await client.open_wallet(name, password)
    assert await client.get_address() == address
    assert [await client.query_key(kind) for kind in ("spend_key", "view_key", "mnemonic")] == secrets_before


async def test_the_lookahead_is_there_or_unknown_as_the_version_says(
    opened: tuple[WalletRpcClient, str, str], programs: MoneroPrograms
) -> None:
    client, _, password = opened
    if abilities_of(programs.version).set_subaddress_lookahead:
        with pytest.raises(WrongPasswordError):
            await client.set_subaddress_lookahead(1, 1, "wrong")
        await client.set_subaddress_lookahead(1, 1, password)
    else:
        with pytest.raises(UnknownMethodError):
            await client.set_subaddress_lookahead(1, 1, password)


async def test_without_a_daemon_the_program_fails_inside_and_says_nothing(
    opened: tuple[WalletRpcClient, str, str],
) -> None:
    with pytest.raises(UncaughtInsideMoneroError):
        await opened[0].get_transfers(pool=True)
