"""Escrows that a bench writes into the database are what a set-up would have left."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from monero_escrow.bench.planted import plant, trios_in_stock
from monero_escrow.core.address import parse_address
from monero_escrow.core.curve import public_key
from monero_escrow.core.key_exchange import Round
from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import ROLES
from monero_escrow.store.opening import open_sqlcipher
from monero_escrow.store.records import TrioRecord
from monero_escrow.store.transaction import Transaction
from unit.rows import MASTER_KEY, NETWORK


def _trio(trio_id: str, tx: Transaction) -> TrioRecord:
    return tx.trios.get(trio_id)


def _view_key(trio_id: str, tx: Transaction) -> str:
    return tx.trios.view_key(trio_id)


async def test_planted_escrows_await_deposits_at_addresses_whose_view_keys_are_sealed(tmp_path: Path) -> None:
    store = open_sqlcipher(tmp_path / "escrow.db", MASTER_KEY, NETWORK)
    told: list[int] = []
    await plant(store, NETWORK, 3, told.append)
    escrows = await store.read(
        lambda tx: tx.escrows.page(shop_id=None, states=frozenset({State.AWAITING_DEPOSIT}), before=None, limit=10)
    )
    assert len({escrow.deposit_address for escrow in escrows}) == 3
    for escrow in escrows:
        trio = await store.read(partial(_trio, escrow.finished_trio_id))
        view_key = await store.read(partial(_view_key, trio.id))
        assert parse_address(trio.finished_address, NETWORK).public_view_key == public_key(bytes.fromhex(view_key))
        assert trio.escrow_id == escrow.id
        assert set(trio.participants) == set(ROLES)
        made = {(row, role) for row in (Round.PREPARE, Round.MAKE, Round.EXCHANGE) for role in ROLES}
        assert set(trio.exchange.messages) == made
    assert await trios_in_stock(store) == 0
    assert told == [3]
    store.close()
