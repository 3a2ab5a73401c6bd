"""One wallet-rpc process and the wallets it opens: what is pinned here, the pool and the recovery rely on."""

from __future__ import annotations

import asyncio
import secrets

import pytest
import pytest_asyncio

from conformance.subjects import OfflineProcesses, Subject
from monero_escrow.core.address import Network
from monero_escrow.core.keys import WalletKeys
from monero_escrow.monero.errors import (
    InvalidFilenameError,
    MoneroRpcError,
    NoWalletOpenError,
    UncaughtInsideMoneroError,
    UnknownMethodError,
    WalletExistsError,
    WalletFileLockedError,
    WalletFileMissingError,
    WrongAddressError,
    WrongPasswordError,
)
from monero_escrow.monero.ports import WalletRpc
from monero_escrow.monero.rpc import RpcConnection
from monero_escrow.monero.versions import LEAST_FOR_MAINNET, abilities_of, probe_version
from monero_escrow.monero.wallet_rpc import WalletRpcClient

pytestmark = [pytest.mark.chain, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def opened(offline: OfflineProcesses) -> tuple[WalletRpc, str, str]:
    """A process with a wallet that every test leaves open; its name and password."""
    client = (await offline.start()).client
    name, password = f"w-{secrets.token_hex(6)}", secrets.token_hex(8)
    await client.create_wallet(name, password)
    return client, name, password


async def test_a_process_says_at_least_which_version_it_is_and_what_it_can(idle: WalletRpc, subject: Subject) -> None:
    probed = await probe_version(idle)

    assert probed.at_least <= subject.version
    assert (probed.at_least >= LEAST_FOR_MAINNET) == (subject.version >= LEAST_FOR_MAINNET)
    assert probed.abilities == abilities_of(subject.version)


async def test_probing_leaves_a_wallet_that_is_open_as_it_was(opened: tuple[WalletRpc, str, str]) -> None:
    client = opened[0]
    before = await client.get_address()
    await probe_version(client)
    assert await client.get_address() == before


async def test_every_call_on_a_wallet_says_so_when_nothing_is_open(idle: WalletRpc) -> None:
    for call in (
        idle.get_address(),
        idle.is_multisig(),
        idle.prepare_multisig(),
        idle.make_multisig(["x", "y"], threshold=2, password="p"),
        idle.exchange_multisig_keys(["x", "y"], password="p"),
        idle.export_multisig_info(),
        idle.import_multisig_info(["00"]),
        idle.sign_multisig("00"),
        idle.submit_multisig("00"),
        idle.transfer([("x", 1)], priority=1),
        idle.sweep_all("x", priority=1),
        idle.describe_transfer("00"),
        idle.freeze("00" * 32),
        idle.store(),
        idle.close_wallet(),
        idle.refresh(),
        idle.get_balance(),
        idle.incoming_transfers(),
        idle.get_transfers(pool=True),
        idle.query_key("mnemonic"),
    ):
        with pytest.raises(NoWalletOpenError):
            await call


async def test_automatic_refresh_is_switched_for_the_process_and_needs_no_wallet(idle: WalletRpc) -> None:
    await idle.auto_refresh(False)


async def test_a_wallet_is_not_made_twice(opened: tuple[WalletRpc, str, str]) -> None:
    client, name, password = opened
    address = await client.get_address()
    with pytest.raises(WalletExistsError) as refusal:
        await client.create_wallet(name, password)
    assert refusal.value.rpc_code == -21
    assert await client.get_address() == address


async def test_a_failed_opening_says_why_and_leaves_the_earlier_wallet_open(
    opened: tuple[WalletRpc, str, str],
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
async def test_a_file_name_is_never_a_path_nor_empty(idle: WalletRpc, filename: str) -> None:
    with pytest.raises(InvalidFilenameError):
        await idle.create_wallet(filename, "p")
    with pytest.raises(NoWalletOpenError):
        await idle.get_address()


async def test_the_program_itself_refuses_a_path_too(real_offline: WalletRpcClient) -> None:
    raw = RpcConnection(real_offline.url)
    params = {"filename": "../escape", "password": "p", "language": "English"}
    with pytest.raises(InvalidFilenameError):
        await raw.call("create_wallet", params, limit_seconds=60)
    await raw.aclose()


async def test_a_wallet_open_elsewhere_is_locked_until_it_is_opened_where_it_is_open_already(
    offline: OfflineProcesses,
) -> None:
    """Why a slot closes its wallet before it opens one: opening an open wallet again loses its lock."""
    shared = offline.folder()
    one, other = [process.client for process in await asyncio.gather(offline.start(shared), offline.start(shared))]
    await one.create_wallet("shared", "p")
    with pytest.raises(WalletFileLockedError):
        await other.open_wallet("shared", "p")

    await one.open_wallet("shared", "p")
    await other.open_wallet("shared", "p")

    for client in (one, other):
        await client.close_wallet(store=False)


async def test_keys_of_no_address_are_refused(idle: WalletRpc) -> None:
    with pytest.raises(WrongAddressError):
        await idle.generate_from_keys(
            filename="n", password="p", address="nonsense", spend_key="00" * 32, view_key="00" * 32, restore_height=0
        )


async def test_a_wallet_that_cannot_be_tells_the_network_and_is_not_made(idle: WalletRpc) -> None:
    """How a process is asked for its network: the address is read before the keys, which are none."""

    async def ask(network: Network) -> None:
        address = WalletKeys.from_entropy(secrets.token_bytes(32), network).address
        await idle.generate_from_keys(
            filename="probe", password="", address=address, spend_key="", view_key="00", restore_height=0
        )

    with pytest.raises(WrongAddressError):
        await ask(Network.MAINNET)
    with pytest.raises(MoneroRpcError) as refusal:
        await ask(Network.TESTNET)
    assert (type(refusal.value), refusal.value.rpc_code) == (MoneroRpcError, -1)
    with pytest.raises(WalletFileMissingError):
        await idle.open_wallet("probe", "")


async def test_only_the_right_password_may_be_changed_to_itself(opened: tuple[WalletRpc, str, str]) -> None:
    client, _, password = opened
    with pytest.raises(WrongPasswordError):
        await client.change_wallet_password("wrong", "wrong")
    await client.change_wallet_password(password, password)


async def test_what_is_closed_without_storing_is_still_the_same_wallet(
    opened: tuple[WalletRpc, str, str],
) -> None:
    client, name, password = opened
    address = await client.get_address()
    secrets_before = [await client.query_key(kind) for kind in ("spend_key", "view_key", "mnemonic")]
    await client.close_wallet(store=False)
    await client.open_wallet(name, password)
    assert await client.get_address() == address
    assert [await client.query_key(kind) for kind in ("spend_key", "view_key", "mnemonic")] == secrets_before


async def test_the_lookahead_is_there_or_unknown_as_the_version_says(
    opened: tuple[WalletRpc, str, str], subject: Subject
) -> None:
    client, _, password = opened
    if abilities_of(subject.version).set_subaddress_lookahead:
        with pytest.raises(WrongPasswordError):
            await client.set_subaddress_lookahead(1, 1, "wrong")
        await client.set_subaddress_lookahead(1, 1, password)
    else:
        with pytest.raises(UnknownMethodError):
            await client.set_subaddress_lookahead(1, 1, password)


async def test_without_a_daemon_the_program_fails_inside_and_says_nothing(
    opened: tuple[WalletRpc, str, str],
) -> None:
    with pytest.raises(UncaughtInsideMoneroError):
        await opened[0].get_transfers(pool=True)
