"""The keys of an address lie in a second durable place before anyone sees it, and come back from there.

On mainnet no address leaves without this: a backup holds only what was there when it was made, and an escrow that is
newer has its seeds nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from monero_escrow.config import Settings, SettingsError
from monero_escrow.core.address import Network
from monero_escrow.core.errors import ConflictError, NotFoundError
from monero_escrow.core.life_cycle import Event, State
from monero_escrow.core.words import short
from monero_escrow.escrows.context import SERVICE, Context, move
from monero_escrow.store.records import EscrowRecord
from monero_escrow.store.second_place import (
    KeptTrio,
    SecondPlaceDamagedError,
    SecondPlaceUnavailableError,
    second_place,
)
from monero_escrow.store.transaction import Transaction

_LIMIT_SECONDS = 30.0  # a network folder that hangs must not keep an escrow for ever
_ORPHAN = "a further attempt of an escrow that has another address"


class NoSecondPlaceError(SettingsError):
    """Mainnet without BACKUP_URL."""

    code = "no_second_place"
    what_to_do = (
        "Set BACKUP_URL=file:///PATH of a folder on another disk: what an address's coins need is kept there before "
        "anyone sees the address. docs/backups.md says why."
    )


def require_second_place(network: Network, *, configured: bool) -> None:
    """On mainnet no address leaves without one. Raises NoSecondPlaceError."""
    if network is Network.MAINNET and not configured:
        raise NoSecondPlaceError("BACKUP_URL is not set, and this is mainnet.")


def needs_second_place(settings: Settings) -> bool:
    """Whether an address may not be shown before its keys lie in a second place: there is one, or there must be."""
    return settings.backup_url is not None or settings.monero_network is Network.MAINNET


async def keep_elsewhere(ctx: Context, escrow_id: str) -> None:
    """Before the address of the escrow's finished trio is shown. Whatever is raised here, nobody was shown it.

    Order and trio are kept whole, when they have become one: a trio in stock is nobody's, and losing it loses nothing.
    Raises NoSecondPlaceError, SecondPlaceUnavailableError.
    """
    place, network = second_place(ctx.settings), ctx.settings.monero_network
    require_second_place(network, configured=place is not None)
    if place is None:
        return
    now = ctx.clock.now()

    def read(tx: Transaction) -> KeptTrio | None:
        escrow, finished = tx.escrows.get(escrow_id), tx.trios.finished_for(escrow_id)
        if escrow.state is not State.SETTING_UP or finished is None:
            return None
        trio_id, address = finished
        view_key = tx.trios.view_key(trio_id)
        return KeptTrio.of(escrow, tx.trios.get(trio_id), address, view_key, network=network, now=now)

    kept = await ctx.store.read(read)
    if kept is None:
        return
    try:
        async with asyncio.timeout(_LIMIT_SECONDS):
            await asyncio.to_thread(place.keep, kept)
    except TimeoutError:
        raise SecondPlaceUnavailableError(f"BACKUP_URL did not take a file in {_LIMIT_SECONDS:g} s.") from None


def bring_back(tx: Transaction, kept: Iterable[KeptTrio], network: Network, now: float) -> int:
    """Make escrows again whose addresses are newer than this restored database; how many.

    Of several attempts for one escrow only the last can have been shown: the others come back for their keys alone.
    Raises ConflictError when a row contradicts what was kept, SecondPlaceDamagedError for what another network's
    service put there.
    """
    return sum(_bring_back(tx, one, network, now) for one in sorted(kept, key=lambda one: one.kept_at, reverse=True))


def _bring_back(tx: Transaction, kept: KeptTrio, network: Network, now: float) -> bool:
    if kept.network != network:
        raise SecondPlaceDamagedError(f"BACKUP_URL holds {kept.trio.id}, which is of {kept.network}, not {network}.")
    known = tx.trios.find(kept.trio.id)
    if known is not None and known.address is not None:
        if known.address != kept.trio.address or known.escrow_id not in (kept.escrow_id, None):
            raise _contradiction(kept, "The trio has another address or escrow.")
        if known.escrow_id is not None and tx.escrows.get(known.escrow_id).state is not State.SETTING_UP:
            return False
    escrow = _escrow(tx, kept, now)
    try:
        tx.trios.bring_back(kept.trio, kept.view_key, network, now)
    except ConflictError as error:
        raise _contradiction(kept, error.message) from None
    detail = {"trio_id": kept.trio.id, "address": short(kept.trio.finished_address)}
    if escrow.state is not State.SETTING_UP:
        tx.trios.quarantine(kept.trio.id, _ORPHAN)
        tx.audit.add(SERVICE, "attempt_recovered_from_second_place", now, escrow_id=escrow.id, detail=detail)
        return False
    tx.audit.add(SERVICE, "recovered_from_second_place", now, escrow_id=escrow.id, detail=detail)
    move(
        tx,
        escrow,
        Event.ADDRESS_READY,
        SERVICE,
        now,
        detail={"address": short(kept.trio.finished_address)},
        trio_id=kept.trio.id,
        deposit_address=kept.trio.finished_address,
        deposit_deadline=now + escrow.deposit_window_seconds,
        due_at=now,
        failures=0,
        trouble=None,
    )
    return True


def _escrow(tx: Transaction, kept: KeptTrio, now: float) -> EscrowRecord:
    """The escrow as the copy has it, or made again as it was ordered."""
    try:
        escrow = tx.escrows.get(kept.escrow_id)
    except NotFoundError:
        if tx.escrows.of_order(kept.shop_id, kept.order_id) is not None:
            raise _contradiction(kept, "Its order has another escrow.") from None
    else:
        its_order = (escrow.shop_id, escrow.order_id, escrow.request_fingerprint)
        if its_order != (kept.shop_id, kept.order_id, kept.request_fingerprint):
            raise _contradiction(kept, "Its escrow belongs to another order.")
        return escrow
    tx.escrows.add(
        EscrowRecord(
            id=kept.escrow_id,
            shop_id=kept.shop_id,
            order_id=kept.order_id,
            request_fingerprint=kept.request_fingerprint,
            state=State.SETTING_UP,
            terms=kept.terms,
            deposit_window_seconds=kept.deposit_window_seconds,
            deposit_deadline=None,
            deposit_address=None,
            trio_id=None,
            due_at=now,
            failures=0,
            trouble=None,
            created_at=kept.created_at,
            updated_at=now,
        )
    )
    return tx.escrows.get(kept.escrow_id)


def _contradiction(kept: KeptTrio, why: str) -> ConflictError:
    return ConflictError(
        f"What BACKUP_URL holds of trio {kept.trio.id} contradicts the backup. {why}",
        what_to_do="Restore the newest backup you have. To go on without that trio, move its file somewhere else, and "
        "keep it: it holds the keys of an address.",
    )
