"""`monero-escrow audit`: verify the audit trail, and keep it elsewhere (`books.py` has the books).

Exit codes of `verify`: 0 the trail is whole, 3 something in it is not, 1 it could not be verified.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cyclopts import App

from monero_escrow.cli.books import write_books
from monero_escrow.cli.database import actor, in_database, with_store
from monero_escrow.cli.options import Json, Since, parsed_time
from monero_escrow.cli.progress import ProgressBar
from monero_escrow.config import load_settings
from monero_escrow.core.errors import InvalidInputError
from monero_escrow.core.words import many, moment
from monero_escrow.store.audit_adopt import adopt
from monero_escrow.store.audit_check import Trouble, Verified
from monero_escrow.store.audit_checkpoints import sign_all
from monero_escrow.store.audit_file import Exported, export, read_checkpoints, verify_file
from monero_escrow.store.audit_seal import seal_of
from monero_escrow.store.audit_verify import verify
from monero_escrow.store.durable_file import ExportFailedError
from monero_escrow.store.transaction import Transaction

NOT_WHOLE: Final = 3
_MOST_SHOWN: Final = 50
_KEY_BYTES: Final = 32

audit_app = App(name="audit", help="Verify the audit trail, export it, and write the books.")
audit_app.command(write_books, name="books")


@audit_app.command(name="verify")
def verify_trail(
    *,
    escrow: str | None = None,
    checkpoint: Path | None = None,
    file: Path | None = None,
    public_key: str | None = None,
    json_output: Json = False,
) -> int:
    """Look for rows that were changed, removed, inserted or moved, and name each.

    Parameters
    ----------
    escrow
        Only this escrow's rows.
    checkpoint
        A file that `audit checkpoint` or `audit export` wrote earlier: what was cut off since then shows.
    file
        Verify what `audit export` wrote, instead of the database.
    public_key
        With --file: the key of `audit key`, so that neither the database nor its key is needed.
    """
    if file is None and public_key is not None:
        raise InvalidInputError("--public-key goes with --file.", what_to_do="See `audit verify --help`.")
    with ProgressBar() as bar:
        if file is not None:
            seal = None if public_key is not None else seal_of(load_settings().master_key())
            key = seal.public_key if seal is not None else _parsed_key(public_key or "")
            found = verify_file(file, key, bar, seal=seal)
        else:
            kept = None if checkpoint is None else read_checkpoints(checkpoint)
            found = in_database(lambda tx: verify(tx, bar, escrow_id=escrow, kept=kept))
    _print_verified(found, json_output)
    return NOT_WHOLE if found.troubles else 0


@audit_app.command(name="export")
def export_trail(file: Path, /, *, since: Since = None, json_output: Json = False) -> None:
    """Write the trail as JSON Lines, with signed checkpoints, into a new file that can be kept elsewhere.

    Parameters
    ----------
    file
        The new file; nothing is ever replaced.
    """
    _print_exported(file, _export(file, since=parsed_time(since), rows=True), json_output)


@audit_app.command(name="checkpoint")
def checkpoint_trail(file: Path, /, *, json_output: Json = False) -> None:
    """Sign where the trail stands now, and write the checkpoints alone into a new, small file to keep elsewhere.

    Parameters
    ----------
    file
        The new file; `audit verify --checkpoint FILE` shows what was cut off since.
    """
    _print_exported(file, _export(file, since=None, rows=False), json_output)


@audit_app.command(name="key")
def show_key() -> None:
    """Print the public key: with it anybody can verify an exported file."""
    print(seal_of(load_settings().master_key()).public_key.hex())


@audit_app.command(name="adopt")
def adopt_rows() -> None:
    """Chain rows that a node of an earlier version wrote during an upgrade.

    `audit verify` names each of them. If no such node ran at that time, somebody else wrote them: find out who first.
    """
    done = 0
    while more := in_database(_adopt, writes=True):
        done += more
    print(f"{done} rows are chained from now on; each says since when.")


@audit_app.command(name="mend")
def mend_chain(chain: str, /) -> None:
    """Go on with a chain whose end was changed by another hand, from the row that is there; the trail will say so.

    Parameters
    ----------
    chain
        An escrow's id, trio:ID or node:NAME, as the error and `audit verify --json` name it.
    """
    escrow_id = None if ":" in chain else chain
    last = in_database(lambda tx: tx.audit.mend(chain, actor(), tx.nodes.now(), escrow_id), writes=True)
    print(f"It goes on after row {last}. What `audit verify` says of the rows before stays true.")


def _export(file: Path, *, since: float | None, rows: bool) -> Exported:
    settings = load_settings()
    _require_new(file)

    def note(tx: Transaction) -> None:
        action = "trail_exported" if rows else "trail_checkpointed"
        tx.audit.add(actor(), action, tx.nodes.now(), detail={"file": file.name})

    in_database(note, writes=True)
    with_store(lambda store: sign_all(store, lambda tx: tx.nodes.now()))
    with ProgressBar() as bar:
        return in_database(
            lambda tx: export(
                tx, file, network=settings.monero_network, now=time.time(), tell=bar, since=since, rows=rows
            )
        )


def _require_new(file: Path) -> None:
    """Before anything is signed. What comes to be there later is not replaced either."""
    if file.exists():
        raise ExportFailedError(f"{file} is there already.")
    if not file.parent.is_dir():
        raise ExportFailedError(f"There is no folder {file.parent}.")


def _adopt(tx: Transaction) -> int:
    now = tx.nodes.now()
    count = adopt(tx, now)
    if count:
        tx.audit.add(actor(), "rows_adopted", now, detail={"rows": count})
    return count


def _parsed_key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise InvalidInputError("--public-key is 64 hex digits.", what_to_do="`monero-escrow audit key` prints it.")
    return key


def _print_exported(file: Path, done: Exported, json_output: bool) -> None:
    if json_output:
        print(json.dumps({"file": str(file), "rows": done.rows, "checkpoints": done.checkpoints}))
        return
    print(file)
    counts = f"{many(done.rows, 'row')}, {many(done.checkpoints, 'signed checkpoint')}"
    print(f"{counts}. Keep it where the service's machine cannot write.")


def _print_verified(found: Verified, json_output: bool) -> None:
    if json_output:
        print(json.dumps({**_counts(found), "troubles": [_as_json(one) for one in found.troubles]}))
        return
    for trouble in found.troubles[:_MOST_SHOWN]:
        print(trouble.message)
    if len(found.troubles) > _MOST_SHOWN:
        print(f"… and {len(found.troubles) - _MOST_SHOWN} more: --json prints all.")
    print(_summary(found, found.troubles))


def _summary(found: Verified, troubles: Sequence[Trouble]) -> str:
    chains, signed = many(found.chains, "chain"), many(found.checkpoints, "checkpoint")
    counts = f"{many(found.rows, 'row')} in {chains}, {signed}"
    later = f" {found.chained_later} rows were written by an earlier version and chained later." * bool(
        found.chained_later
    )
    if not troubles:
        return f"The audit trail is whole: {counts}.{later}"
    print("Nobody but the service writes there: docs/audit.md says what to do.", file=sys.stderr)
    return f"The audit trail is not whole: {many(len(troubles), 'trouble')} in {counts}.{later}"


def _counts(found: Verified) -> dict[str, object]:
    return {
        "whole": not found.troubles,
        "rows": found.rows,
        "chains": found.chains,
        "checkpoints": found.checkpoints,
        "chained_later": found.chained_later,
        "verified_at": moment(time.time()),
    }


def _as_json(trouble: Trouble) -> dict[str, object]:
    where = {"chain": trouble.chain, "first_row": trouble.seq, "last_row": trouble.last or trouble.seq}
    return {"problem": trouble.problem.value, **where, "message": trouble.message}
