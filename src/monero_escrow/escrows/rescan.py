"""Look at an escrow once more because somebody asks for it: its wallet at once, and the scan from some block on.

For one that is not watched any more, or of which somebody says that they paid and nothing is seen. It decides nothing:
what is found is treated as if it had been found before.
"""

from __future__ import annotations

from collections.abc import Callable

from monero_escrow.core.errors import ConflictError
from monero_escrow.escrows.decide import Decision
from monero_escrow.store.transaction import Transaction


def to_rescan(escrow_id: str, from_height: int | None, actor: str, now: float) -> Decision:
    """One escrow. The decision raises NotFoundError, and ConflictError for one that has no address yet."""

    def decision(tx: Transaction) -> None:
        escrow = tx.escrows.get(escrow_id)
        if escrow.deposit_address is None:
            raise ConflictError(
                "This escrow has no address yet.", what_to_do="Wait until it has one: nothing can come."
            )
        tx.escrows.rescan(escrow_id, from_height, now)
        tx.audit.add(actor, "rescan", now, escrow_id=escrow_id, detail=_detail(from_height))

    return decision


def to_rescan_all(from_height: int | None, actor: str, now: float) -> Callable[[Transaction], int]:
    """Every escrow that has an address, those closed long ago included; answers how many those are."""

    def work(tx: Transaction) -> int:
        tx.audit.add(actor, "rescan_all", now, detail=_detail(from_height))
        return tx.escrows.rescan(None, from_height, now)

    return work


def _detail(from_height: int | None) -> dict[str, object]:
    return {} if from_height is None else {"from_height": str(from_height)}
