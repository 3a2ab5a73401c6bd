"""Remove the wallet files of escrows that were settled long ago, and of set-ups that came to nothing.

A wallet file is a cache: the database can rebuild the wallet, and does if anybody ever asks for it again. So nothing is
lost here. Only files whose names the database knows are touched, only in folders this machine sees, and none of an
escrow that somebody works on this moment. As long as one class has no such folder, a trio is not done with. Of several
nodes each does this for the wallets that are at home with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import structlog

from monero_escrow.core.errors import EscrowError
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.escrows.context import SERVICE, Context
from monero_escrow.escrows.hosted import names_of
from monero_escrow.fleet.local import wallets_folder
from monero_escrow.jitter import jittered
from monero_escrow.store.transaction import Transaction
from monero_escrow.store.trio_files import OldTrio, files_are_removed, old_trios

log = structlog.get_logger(__name__)

_EVERY_SECONDS = 3_600.0
_DAY_SECONDS = 86_400.0
_AT_ONCE = 100
_BESIDE = ("", ".keys", ".address.txt")
_OURS = re.compile(r"[a-z]+-[0-9a-f]{16}")


async def keep_tidy(ctx: Context) -> None:
    """Until cancelled: look about once an hour."""
    while True:
        await ctx.clock.sleep(jittered(_EVERY_SECONDS))
        try:
            removed = await tidy_up(ctx)
        except EscrowError as error:  # the database has other things to do; the next look is soon enough
            log.warning("tidying_waits", code=error.code, reason=error.message)
        else:
            if removed:
                log.info("wallet_files_removed", trios=removed)


async def tidy_up(ctx: Context) -> int:
    """Remove what is not needed any more; of how many trios. What cannot be removed is left, and logged."""
    if not all(_folders(ctx, role) for role in ROLES):
        return 0  # what is not seen this moment would be taken for removed
    now = ctx.clock.now()
    settled_before = now - ctx.settings.watch_after_days * _DAY_SECONDS
    node_name = ctx.maker().node_name

    def find(tx: Transaction) -> list[OldTrio]:
        return old_trios(
            tx.connection,
            settled_before=settled_before,
            abandoned_before=now - _DAY_SECONDS,
            limit=_AT_ONCE,
            node_name=node_name,
        )

    done = [trio for trio in await ctx.store.read(find) if _remove(ctx, trio)]

    def record(tx: Transaction) -> None:
        for trio in done:
            files_are_removed(tx.connection, trio.id, now)
            detail = {"trio_id": trio.id}
            tx.audit.add(SERVICE, "wallet_files_removed", now, escrow_id=trio.escrow_id, trio_id=trio.id, detail=detail)

    if done:
        await ctx.store.write(record)
    return len(done)


def _remove(ctx: Context, trio: OldTrio) -> bool:
    """Whether none of its files is left. Awaits nothing, so nobody leases a slot for this escrow meanwhile."""
    if trio.escrow_id is not None and any(trio.escrow_id in lease.work for lease in ctx.pool.leases):
        return False
    try:
        for role, filename in trio.filenames.items():
            for folder in _folders(ctx, role):
                for file in _files(folder, filename):
                    file.unlink(missing_ok=True)
    except OSError as error:
        log.warning("wallet_files_stay", trio_id=trio.id, reason=error.strerror)
        return False
    return True


def _folders(ctx: Context, role: Role) -> set[Path]:
    """Where wallets of this role lie, as far as this machine can see."""
    elsewhere = ctx.settings.wallet_dir
    folders = {slot.wallet_dir or elsewhere for slot in ctx.pool.slots if slot.role is role}
    if (own := wallets_folder(ctx.settings.fleet_folder, role)).is_dir():  # also when no process uses it just now
        folders.add(own)
    return {folder for folder in folders if folder is not None}


def _files(folder: Path, filename: str) -> Iterator[Path]:
    if _OURS.fullmatch(filename):  # a name of another shape is none that this service gave
        for name in names_of(filename):
            yield from (folder / f"{name}{beside}" for beside in _BESIDE)
