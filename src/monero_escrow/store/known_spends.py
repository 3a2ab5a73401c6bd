"""What a database knows that the chain can be asked about: key images of outputs, and transactions it ever signed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, select

from monero_escrow.core.payout_states import PayoutState
from monero_escrow.store import schema


@dataclass(frozen=True, slots=True)
class KnownOutput:
    """An output whose key image is known, and the payout it belongs to, if any."""

    escrow_id: str
    public_key: str
    txid: str
    key_image: str
    payout_id: str | None
    payout_state: PayoutState | None


def known_outputs(connection: Connection) -> list[KnownOutput]:
    """Every output whose key image two wallets have ever found out."""
    outputs, payouts = schema.outputs, schema.payouts
    query = (
        select(outputs, payouts.c.state)
        .join(payouts, payouts.c.id == outputs.c.payout_id, isouter=True)
        .where(outputs.c.key_image.is_not(None))
        .order_by(outputs.c.escrow_id, outputs.c.public_key)
    )
    return [
        KnownOutput(
            escrow_id=row.escrow_id,
            public_key=row.public_key,
            txid=row.txid,
            key_image=row.key_image,
            payout_id=row.payout_id,
            payout_state=None if row.state is None else PayoutState(row.state),
        )
        for row in connection.execute(query)
    ]


def signed_txids(connection: Connection, states: Iterable[PayoutState]) -> dict[str, list[str]]:
    """By payout: every transaction that was ever signed for the payouts in these states."""
    proposals, payouts = schema.proposals, schema.payouts
    query = (
        select(proposals.c.payout_id, proposals.c.txid)
        .join(payouts, payouts.c.id == proposals.c.payout_id)
        .where(proposals.c.txid.is_not(None), payouts.c.state.in_(list(states)))
        .order_by(proposals.c.payout_id, proposals.c.number)
    )
    found: defaultdict[str, list[str]] = defaultdict(list)
    for payout_id, txid in connection.execute(query):
        found[payout_id].append(txid)
    return dict(found)
