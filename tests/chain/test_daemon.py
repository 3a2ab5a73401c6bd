"""What monerod answers while it is at work."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from monero_escrow.monero.daemon import DaemonClient
from monero_escrow.monero.person import until_relayed
from monero_escrow.monero.private_chain import PrivateChain
from monero_escrow.monero.programs import find_programs

pytestmark = [pytest.mark.chain, pytest.mark.newest_monero]

_ASKERS = 4
_MOST_TRANSACTIONS = 20


async def test_a_transaction_that_is_mined_while_it_is_asked_for_may_be_missed_once(tmp_path: Path) -> None:
    """monerod looks into its chain, then into its pool: hence whoever misses one asks again, see `settle.py`."""
    missed: list[str] = []
    missed_again: list[str] = []

    async def ask(txid: str, mined: asyncio.Event) -> None:
        daemon = DaemonClient(chain.monerod.url)
        while not mined.is_set():
            if not await daemon.get_transactions([txid]):
                missed.append(txid)
                missed_again.extend([] if await daemon.get_transactions([txid]) else [txid])
        await daemon.aclose()

    async with PrivateChain(find_programs(), tmp_path) as chain:
        await chain.mine_until_spendable()
        for _ in range(_MOST_TRANSACTIONS):
            txid, mined = await chain.miner.pay([(chain.miner.address, 10**9)]), asyncio.Event()
            await until_relayed(chain.daemon)
            async with asyncio.TaskGroup() as askers:
                for _ in range(_ASKERS):
                    askers.create_task(ask(txid, mined))
                await chain.mine(1)
                mined.set()
            assert (await chain.daemon.get_transactions([txid]))[txid].block_height is not None
            if missed:
                break
    assert missed
    assert missed_again == []
