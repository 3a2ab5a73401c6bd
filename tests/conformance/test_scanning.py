"""What a scan with view keys asks the daemon, and that it finds what a wallet finds."""

from __future__ import annotations

import pytest

from conformance.subjects import Chain, Payer
from monero_escrow.core.address import Network, parse_address
from monero_escrow.core.scan import Hint, Watcher, scan
from monero_escrow.monero.errors import BlockNotThereError
from monero_escrow.monero.fake.wallet_rpc import FakeWalletRpc
from monero_escrow.monero.wallet_rpc import WalletRpcClient

pytestmark = [pytest.mark.chain, pytest.mark.asyncio(loop_scope="session")]

XMR = 10**12


async def watcher_of(payer: Payer) -> Watcher:
    """Whoever knows the person's view key."""
    view_key = bytes.fromhex(await payer.wallet.query_key("view_key"))
    return Watcher(payer.address[:8], view_key, parse_address(payer.address, Network.REGTEST).public_spend_key)


async def hints_in_block(chain: Chain, height: int, *watchers: Watcher) -> list[Hint]:
    block = await chain.daemon.get_block(height)
    parts = await chain.daemon.get_public_parts(block.txids)
    assert list(parts) == list(block.txids)
    return scan(parts.values(), watchers)


async def found_by_wallet(payer: Payer) -> list[tuple[str, int, str]]:
    """Transaction, amount and key of each output the wallet has found."""
    await payer.wallet.refresh()
    outputs = await payer.wallet.incoming_transfers()
    return sorted((output.txid, output.amount_piconero, output.public_key) for output in outputs)


async def found_by_scan(chain: Chain, hints: list[Hint]) -> list[tuple[str, int | None, str]]:
    parts = await chain.daemon.get_public_parts(sorted({hint.txid for hint in hints}))
    keys = {hint: parts[hint.txid].outputs[hint.output_index].key.hex() for hint in hints}
    return sorted((hint.txid, hint.amount_piconero, keys[hint]) for hint in hints)


async def test_a_block_names_the_one_before_it_and_its_transactions_the_miners_first(chain: Chain) -> None:
    someone = await chain.person("reader-of-blocks")
    txid = await chain.miner.pay([(someone.address, XMR)])
    assert txid in await chain.daemon.get_pool_txids()
    await chain.mine(1)
    height = (await chain.daemon.get_info()).height - 1
    block = await chain.daemon.get_block(height)
    assert (block.height, block.hash) == (height, (await chain.daemon.get_last_block_header()).hash)
    assert block.previous_hash == (await chain.daemon.get_block_header(height - 1)).hash
    assert txid in block.txids[1:]
    parts = await chain.daemon.get_public_parts(block.txids)
    assert [output.amount_piconero > 0 for output in parts[block.txids[0]].outputs] == [True]
    assert {output.amount_piconero for output in parts[txid].outputs} == {0}
    assert txid not in await chain.daemon.get_pool_txids()


async def test_a_block_that_is_not_there_yet_is_said_to_be_missing(chain: Chain) -> None:
    height = (await chain.daemon.get_info()).height
    with pytest.raises(BlockNotThereError):
        await chain.daemon.get_block(height)
    with pytest.raises(BlockNotThereError):
        await chain.daemon.get_block_header(height)


async def test_of_unknown_transactions_nothing_is_said(chain: Chain) -> None:
    assert await chain.daemon.get_public_parts(["ab" * 32]) == {}
    assert await chain.daemon.get_public_parts([]) == {}


async def test_the_scan_finds_in_pool_and_block_exactly_what_the_wallet_finds(chain: Chain) -> None:
    payee, other = await chain.person("payee"), await chain.person("other")
    watcher, stranger = await watcher_of(payee), await watcher_of(await chain.person("stranger"))
    assert isinstance(other.wallet, WalletRpcClient | FakeWalletRpc)
    subaddress = await other.wallet.create_address()
    plain = await chain.miner.pay([(payee.address, XMR)])
    twice = await chain.miner.pay([(payee.address, XMR + 1), (other.address, XMR), (payee.address, XMR + 2)])
    mixed = await chain.miner.pay([(subaddress, XMR), (payee.address, XMR + 3)])

    pool = await chain.daemon.get_public_parts(await chain.daemon.get_pool_txids())
    in_pool = scan(pool.values(), [stranger, watcher])
    assert sorted((hint.txid, hint.amount_piconero) for hint in in_pool) == sorted(
        [(plain, XMR), (twice, XMR + 1), (twice, XMR + 2), (mixed, XMR + 3)]
    )
    assert {hint.escrow_id for hint in in_pool} == {watcher.escrow_id}

    await chain.mine(1)
    mined = await hints_in_block(chain, (await chain.daemon.get_info()).height - 1, stranger, watcher)
    assert await found_by_scan(chain, mined) == await found_by_wallet(payee)


async def test_the_scan_finds_what_is_mined_to_an_address(chain: Chain) -> None:
    miner = await chain.person("miner-of-one-block")
    await chain.daemon.generate_blocks(1, miner.address)
    (hint,) = await hints_in_block(chain, (await chain.daemon.get_info()).height - 1, await watcher_of(miner))
    assert await found_by_scan(chain, [hint]) == await found_by_wallet(miner)


async def test_a_refresh_from_a_height_passes_over_what_is_below_and_misses_nothing_above(chain: Chain) -> None:
    payee = await chain.person("late-riser")
    await payee.wallet.refresh()
    await chain.miner.pay([(payee.address, XMR)])
    await chain.mine(3)
    start_height = (await chain.daemon.get_info()).height
    await chain.miner.pay([(payee.address, 2 * XMR)])
    await chain.mine(1)
    await chain.miner.pay([(payee.address, 3 * XMR)])
    await chain.mine(2)

    await payee.wallet.refresh(start_height)
    assert sorted(row.amount_piconero for row in await payee.wallet.incoming_transfers()) == [2 * XMR, 3 * XMR]

    await chain.miner.pay([(payee.address, 4 * XMR)])
    await chain.mine(1)
    await payee.wallet.refresh(start_height)  # below where the wallet is by now: it changes nothing
    amounts = sorted(row.amount_piconero for row in await payee.wallet.incoming_transfers())
    assert amounts == [2 * XMR, 3 * XMR, 4 * XMR]


async def test_a_refresh_from_a_height_that_is_not_there_yet_misses_nothing_later(chain: Chain) -> None:
    payee = await chain.person("early-riser")
    await payee.wallet.refresh()
    await chain.mine(2)
    height = (await chain.daemon.get_info()).height
    await payee.wallet.refresh(height + 1_000)
    await chain.miner.pay([(payee.address, XMR)])
    await chain.mine(1)
    await payee.wallet.refresh()
    assert [row.amount_piconero for row in await payee.wallet.incoming_transfers()] == [XMR]
