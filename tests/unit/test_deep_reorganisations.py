"""A deposit that a reorganisation moves to an earlier block than any the wallet was made for is found all the same."""

from __future__ import annotations

from pathlib import Path

from monero_escrow.core.life_cycle import State
from unit.fake_service import Town, reached, settings_of
from unit.rows import XMR


async def test_a_deposit_that_is_mined_again_below_the_height_of_its_set_up_still_counts(tmp_path: Path) -> None:
    town = Town()
    await town.chain.mine_until_spendable()
    await town.chain.mine(40)  # so that the coins it pays with are not in the blocks that are replaced
    processes = town.processes()
    settings = settings_of(tmp_path, processes)
    async with town.service(settings, processes) as conductor:
        escrow_id = await town.order(conductor)
        address = (await reached(conductor, escrow_id, State.AWAITING_DEPOSIT)).escrow.deposit_address
        assert address is not None
        await town.chain.miner.pay([(address, XMR)])
        await town.chain.mine(1)

        await town.chain.reorganise(settings.final_confirmations)  # whose first block takes in what the last one held

        view = await reached(conductor, escrow_id, State.FUNDED)
    assert [output.amount_piconero for output in view.outputs] == [XMR]
