"""The key exchange: rounds, repetitions, what a kill leaves, and the address that must never be shown."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from conformance.subjects import OfflineProcesses, WalletProcess
from conformance.trio import PASSWORD, exchange, fresh_keys, make_trio, make_wallet, others, prepare_and_make, replay
from monero_escrow.core.address import AddressFault, AddressKind, InvalidAddressError, Network, parse_address
from monero_escrow.monero.errors import (
    AlreadyMultisigError,
    MoneroRpcError,
    MultisigDisabledError,
    NotMultisigError,
    NoWalletOpenError,
    StaleKeyExchangeError,
    WalletFileDamagedError,
)
from monero_escrow.monero.ports import MultisigStatus, WalletRpc

pytestmark = [pytest.mark.chain, pytest.mark.asyncio(loop_scope="session")]

FINISHED = MultisigStatus(multisig=True, ready=True, threshold=2, total=3)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def three(offline: OfflineProcesses) -> list[WalletProcess]:
    return list(await asyncio.gather(*[offline.start() for _ in range(3)]))


async def test_wallets_made_from_keys_agree_on_an_address_and_still_do_when_reopened_or_rebuilt_elsewhere(
    three: list[WalletProcess],
) -> None:
    trio = await make_trio(three, Network.TESTNET)
    assert parse_address(trio.address, Network.TESTNET).kind is AddressKind.STANDARD
    clients = [process.client for process in three]
    view_keys = {await client.query_key("view_key") for client in clients}
    assert len(view_keys) == 1

    async def reopened(client: WalletRpc, name: str) -> tuple[MultisigStatus, str]:
        await client.close_wallet()
        await client.open_wallet(name, PASSWORD)
        found = await client.is_multisig(), await client.get_address()
        assert await client.query_key("view_key") in view_keys
        await client.close_wallet()
        return found

    for client in clients:
        assert await client.is_multisig() == FINISHED
    found = await asyncio.gather(*map(reopened, clients, trio.names))
    assert found == [(FINISHED, trio.address)] * 3

    elsewhere = clients[2]
    await replay(elsewhere, trio, 0)
    assert (await elsewhere.get_address(), await elsewhere.is_multisig()) == (trio.address, FINISHED)
    await elsewhere.close_wallet()


async def test_each_step_says_so_when_it_is_repeated_and_no_key_is_ready_before_the_last(
    three: list[WalletProcess],
) -> None:
    clients = [process.client for process in three]
    for client in clients:
        await make_wallet(client, fresh_keys(Network.TESTNET))
    with pytest.raises(NotMultisigError):
        await clients[0].exchange_multisig_keys(["x", "y"], password=PASSWORD)
    first = [await client.prepare_multisig() for client in clients]
    assert await clients[0].prepare_multisig() != first[0]  # fresh randomness, the same meaning

    second = [
        await client.make_multisig(others(first, place), threshold=2, password=PASSWORD)
        for place, client in enumerate(clients)
    ]
    assert all(message.startswith("MultisigxV2R") for message in second)
    half_way = await clients[0].is_multisig()
    assert (half_way.multisig, half_way.ready) == (True, False)
    # The address of the document this project started from: its public spend key is the identity point.
    shown = await clients[0].get_address()
    assert shown.startswith("9sCrDesy9LK1111111111111111")
    with pytest.raises(InvalidAddressError) as refusal:
        parse_address(shown, Network.TESTNET)
    assert refusal.value.reason is AddressFault.IDENTITY_SPEND_KEY
    with pytest.raises(AlreadyMultisigError):
        await clients[0].make_multisig(others(first, 0), threshold=2, password=PASSWORD)
    with pytest.raises(AlreadyMultisigError):
        await clients[0].prepare_multisig()
    with pytest.raises(NotMultisigError):
        await clients[0].export_multisig_info()
    with pytest.raises(StaleKeyExchangeError):
        await clients[0].exchange_multisig_keys(others(first, 0), password=PASSWORD)

    third, early = await exchange(clients, second)
    assert early == ["", "", ""]
    assert not (await clients[0].is_multisig()).ready
    with pytest.raises(StaleKeyExchangeError):
        await clients[0].exchange_multisig_keys(others(second, 0), password=PASSWORD)
    _, addresses = await exchange(clients, third)
    assert len(set(addresses)) == 1
    with pytest.raises(MoneroRpcError):
        await clients[0].exchange_multisig_keys(others(third, 0), password=PASSWORD)
    for client in clients:
        await client.close_wallet()


async def test_a_plain_wallet_takes_no_part_in_multisig(three: list[WalletProcess]) -> None:
    client = three[0].client
    await make_wallet(client, fresh_keys(Network.TESTNET))
    for call in (
        client.export_multisig_info(),
        client.import_multisig_info(["00"]),
        client.sign_multisig("00"),
        client.submit_multisig("00"),
    ):
        with pytest.raises(NotMultisigError):
            await call
    with pytest.raises(MoneroRpcError):
        await client.make_multisig(["x", "y"], threshold=2, password=PASSWORD)
    await client.close_wallet()


async def test_prepare_and_make_belong_to_one_opening(three: list[WalletProcess]) -> None:
    clients = [process.client for process in three]
    name = await make_wallet(clients[0], fresh_keys(Network.TESTNET))
    for client in clients[1:]:
        await make_wallet(client, fresh_keys(Network.TESTNET))
    first = [await client.prepare_multisig() for client in clients]
    await clients[0].close_wallet()
    await clients[0].open_wallet(name, PASSWORD)
    second = [
        await client.make_multisig(others(first, place), threshold=2, password=PASSWORD)
        for place, client in enumerate(clients)
    ]
    with pytest.raises(MultisigDisabledError):
        await clients[0].exchange_multisig_keys(others(second, 0), password=PASSWORD)
    for client in clients:
        await client.close_wallet()


async def test_what_a_killed_process_leaves_on_its_disk_after_each_step(three: list[WalletProcess]) -> None:
    """The table that recovery goes by: what may be reopened, and what must be rebuilt from the stored messages."""
    first_one, (second_one, third_one) = three[0], (process.client for process in three[1:])
    keys = fresh_keys(Network.TESTNET)
    for peer in (second_one, third_one):
        await make_wallet(peer, fresh_keys(Network.TESTNET))

    name = await make_wallet(first_one.client, keys)
    client = await first_one.kill_and_start_again()
    with pytest.raises(NoWalletOpenError):
        await client.get_address()
    await client.open_wallet(name, PASSWORD)
    with pytest.raises(MoneroRpcError):
        await make_wallet(client, keys, name=name)
    assert await client.get_address() == keys.address

    # make: both files are written, and the second message cannot be asked for again
    clients = [client, second_one, third_one]
    first, second = await prepare_and_make(clients)
    half_made = await client.get_address()
    client = await first_one.kill_and_start_again()
    await client.open_wallet(name, PASSWORD)
    assert await client.get_address() == half_made
    with pytest.raises(AlreadyMultisigError):
        await client.make_multisig(others(first, 0), threshold=2, password=PASSWORD)

    # the first exchange: the files no longer belong together, unless the wallet was stored
    clients = [client, second_one, third_one]
    third, _ = await exchange(clients, second)
    client = await first_one.kill_and_start_again()
    with pytest.raises(WalletFileDamagedError):
        await client.open_wallet(name, PASSWORD)
    name = await make_wallet(client, keys)
    await client.prepare_multisig()
    await client.make_multisig(others(first, 0), threshold=2, password=PASSWORD)
    await client.exchange_multisig_keys(others(second, 0), password=PASSWORD)
    await client.store()
    client = await first_one.kill_and_start_again()
    await client.open_wallet(name, PASSWORD)
    with pytest.raises(StaleKeyExchangeError):
        await client.exchange_multisig_keys(others(second, 0), password=PASSWORD)

    # the last exchange: both files are written
    finished = await client.exchange_multisig_keys(others(third, 0), password=PASSWORD)
    client = await first_one.kill_and_start_again()
    await client.open_wallet(name, PASSWORD)
    assert (await client.get_address(), await client.is_multisig()) == (finished.address, FINISHED)
    for one in (client, second_one, third_one):
        await one.close_wallet()
