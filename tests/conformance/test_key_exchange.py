"""The key exchange of real wallets: rounds, repetitions, and the address that must never be shown."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from conformance.conftest import StartOffline
from conformance.trio import exchange, make_trio, make_wallets, others
from monero_escrow.core.address import Network
from monero_escrow.monero.errors import AlreadyMultisigError, NotMultisigError, StaleKeyExchangeError
from monero_escrow.monero.ports import MultisigStatus
from monero_escrow.monero.rpc import RpcConnection
from monero_escrow.monero.wallet_rpc import WalletRpcClient

pytestmark = [pytest.mark.chain, pytest.mark.asyncio(loop_scope="session")]

FINISHED = MultisigStatus(multisig=True, ready=True, threshold=2, total=3)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def three(start_offline: StartOffline) -> list[WalletRpcClient]:
    return list(await asyncio.gather(*[_client(start_offline) for _ in range(3)]))


async def _client(start_offline: StartOffline) -> WalletRpcClient:
    return (await start_offline())[1]


async def test_wallets_made_from_keys_agree_on_an_address_and_still_do_when_reopened(
    three: list[WalletRpcClient],
) -> None:
    trio = await make_trio(three, Network.TESTNET)
    assert trio.address.startswith(("9", "A"))

    async def reopened(client: WalletRpcClient, name: str) -> tuple[MultisigStatus, str]:
        await client.close_wallet()
        await client.open_wallet(name, trio.password)
        found = await client.is_multisig(), await client.get_address()
        await client.close_wallet()
        return found

    for client in three:
        assert await client.is_multisig() == FINISHED
    found = await asyncio.gather(*map(reopened, three, trio.names))
    assert found == [(FINISHED, trio.address)] * 3


async def test_each_step_says_so_when_it_is_repeated_and_makes_answer_holds_an_address_nobody_owns(
    three: list[WalletRpcClient],
) -> None:
    await make_wallets(three, "p", Network.TESTNET)
    with pytest.raises(NotMultisigError):
        await three[0].exchange_multisig_keys(["x", "y"], password="p")
    first = [await client.prepare_multisig() for client in three]
    assert await three[0].prepare_multisig() != first[0]  # fresh randomness, the same meaning

    raw = RpcConnection(three[0].url)
    params = {"multisig_info": others(first, 0), "threshold": 2, "password": "p"}
    answer = await raw.call("make_multisig", params, limit_seconds=60)
    await raw.aclose()
    # The address of the document this project started from: its public spend key is the identity point.
    assert answer.text("address").startswith("9sCrDesy9LK1111111111111111")
    second = [
        answer.text("multisig_info"),
        *await asyncio.gather(
            *(three[place].make_multisig(others(first, place), threshold=2, password="p") for place in (1, 2))
        ),
    ]
    assert all(message.startswith("MultisigxV2R") for message in second)
    half_way = await three[0].is_multisig()
    assert (half_way.multisig, half_way.ready) == (True, False)
    with pytest.raises(AlreadyMultisigError):
        await three[0].make_multisig(others(first, 0), threshold=2, password="p")
    with pytest.raises(AlreadyMultisigError):
        await three[0].prepare_multisig()

    third, _ = await exchange(three, second, "p")
    assert not (await three[0].is_multisig()).ready
    with pytest.raises(StaleKeyExchangeError):
        await three[0].exchange_multisig_keys(others(second, 0), password="p")
    _, addresses = await exchange(three, third, "p")
    assert len(set(addresses)) == 1
    for client in three:
        await client.close_wallet()
