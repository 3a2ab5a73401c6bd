"""`monero-escrow rescan`: look once more at what came to an escrow, or to all of them."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter, validators

from monero_escrow.cli.database import actor, goes_on, in_database
from monero_escrow.core.errors import InvalidInputError
from monero_escrow.escrows.rescan import to_rescan, to_rescan_all
from monero_escrow.nodes.bell import ANY_ESCROW

Height = Annotated[int, Parameter(validator=validators.Number(gte=0, lte=500_000_000))]


def rescan(
    escrow_id: str | None = None,
    /,
    *,
    every: Annotated[bool, Parameter("--all", negative=())] = False,
    from_height: Height | None = None,
) -> None:
    """Look once more at what came to an escrow's address, also if it is not watched any more.

    Its wallet looks at the chain as soon as the running service has a slot for it. Nothing is decided by it: coins that
    are found are treated as if they had been found before.

    Parameters
    ----------
    escrow_id
        The escrow.
    every
        Every escrow that has an address, those closed long ago included: a wallet is opened for each.
    from_height
        Scan the blocks from this one on for it again besides, with its view key alone.
    """
    if (escrow_id is None) != every:
        raise InvalidInputError(
            "Name one escrow, or say --all.", what_to_do="`monero-escrow escrow list` shows the newest ones."
        )
    who = actor()
    if escrow_id is None:
        count = in_database(
            lambda tx: to_rescan_all(from_height, who, tx.nodes.now())(tx), writes=True, wakes=ANY_ESCROW
        )
        print(f"{count} escrows are looked at again; {goes_on()}")
        return
    in_database(lambda tx: to_rescan(escrow_id, from_height, who, tx.nodes.now())(tx), writes=True, wakes=escrow_id)
    print(f"It is looked at again; {goes_on()}")
