"""Open escrows without wallets: the rows a service would have after so many set-ups, written by its own tables.

Keys and addresses are real and random, secrets are sealed as ever; only no process has ever seen the wallets, which
nothing notices as long as nobody pays. For what must be measured at a thousand escrows and more.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select

from monero_escrow.bench.stage import SHOP, new_order_id, some_address
from monero_escrow.core.address import Network
from monero_escrow.core.key_exchange import Round
from monero_escrow.core.keys import WalletKeys
from monero_escrow.core.life_cycle import State
from monero_escrow.core.money import PICONERO_PER_XMR
from monero_escrow.core.payout import Terms
from monero_escrow.core.roles import ROLES
from monero_escrow.escrows.context import new_id
from monero_escrow.escrows.hosted import new_participant
from monero_escrow.store import schema
from monero_escrow.store.records import EscrowRecord, ParticipantRecord
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction

_A_TRANSACTION: Final = 200
_WINDOW_SECONDS: Final = 72_000.0
_MESSAGE_BYTES: Final = {Round.PREPARE: 96, Round.MAKE: 160, Round.EXCHANGE: 288}
"""About what the three messages of a 2-of-3 exchange have."""


@dataclass(frozen=True, slots=True)
class _Planted:
    escrow: EscrowRecord
    participants: tuple[ParticipantRecord, ...]
    keys: WalletKeys


async def plant(store: SqlStore, network: Network, count: int, on_progress: Callable[[int], None]) -> None:
    """So many escrows that await their deposits, due by the clock only at their deadlines."""
    terms = Terms(PICONERO_PER_XMR, some_address(network), some_address(network))
    for first in range(0, count, _A_TRANSACTION):
        some = [_made(network, terms) for _ in range(min(_A_TRANSACTION, count - first))]

        def write(tx: Transaction, some: list[_Planted] = some) -> None:
            for one in some:
                _write(tx, one, network)

        await store.write(write)
        on_progress(first + len(some))


def _made(network: Network, terms: Terms) -> _Planted:
    trio_id, now = new_id(), time.time()
    escrow = EscrowRecord(
        id=new_id(),
        shop_id=SHOP,
        order_id=new_order_id(),
        request_fingerprint=secrets.token_hex(32),
        state=State.SETTING_UP,
        terms=terms,
        deposit_window_seconds=_WINDOW_SECONDS,
        deposit_deadline=None,
        deposit_address=None,
        trio_id=trio_id,
        due_at=now,
        failures=0,
        trouble=None,
        created_at=now,
        updated_at=now,
    )
    participants = tuple(new_participant(trio_id, role, network, secrets.token_bytes(64)) for role in ROLES)
    return _Planted(escrow, participants, WalletKeys.from_entropy(secrets.token_bytes(32), network))


def _write(tx: Transaction, one: _Planted, network: Network) -> None:
    """What a set-up leaves behind, its last step first: the escrow's row refers to the trio's."""
    escrow, now = one.escrow, one.escrow.created_at
    trio_id = escrow.finished_trio_id
    tx.trios.add(trio_id, escrow.id, 0, now)
    tx.trios.add_hosted(one.participants, now)
    for made, size in _MESSAGE_BYTES.items():
        tx.trios.add_messages(trio_id, made, {role: secrets.token_hex(size) for role in ROLES}, now)
    tx.trios.finish(trio_id, one.keys.address, one.keys.private_view_key_hex, network, now)
    tx.escrows.add(escrow)
    tx.escrows.change(
        escrow.id,
        expected=State.SETTING_UP,
        now=now,
        state=State.AWAITING_DEPOSIT,
        trio_id=trio_id,
        deposit_address=one.keys.address,
        deposit_deadline=now + _WINDOW_SECONDS,
        due_at=now + _WINDOW_SECONDS,
    )


async def scanned_height(store: SqlStore) -> int:
    """The height of the last block that was scanned for deposits; -1 before the first."""
    highest = await store.read(lambda tx: tx.connection.scalar(select(func.max(schema.scanned_blocks.c.height))))
    return -1 if highest is None else int(highest)


async def trios_in_stock(store: SqlStore) -> int:
    """Finished trios that no order has."""
    t = schema.trios
    unclaimed = select(func.count()).where(t.c.escrow_id.is_(None), t.c.state == "ready")
    count: int | None = await store.read(lambda tx: tx.connection.scalar(unclaimed))
    return count or 0
