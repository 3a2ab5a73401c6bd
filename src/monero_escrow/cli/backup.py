"""`monero-escrow backup`, `restore` and `drill`: keep the database twice, bring it back, prove that it is enough."""

from __future__ import annotations

import asyncio
import json
import secrets
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators
from rich.console import Console
from rich.table import Table

from monero_escrow.cli.database import actor, in_database
from monero_escrow.cli.options import Json
from monero_escrow.cli.progress import ProgressBar
from monero_escrow.config import Settings, load_settings
from monero_escrow.core.errors import EscrowError, InvalidInputError
from monero_escrow.core.words import moment, short
from monero_escrow.escrows import drill as drills
from monero_escrow.escrows import restore as restores
from monero_escrow.monero.programs import find_programs
from monero_escrow.service import only_one
from monero_escrow.store.backup import BackupFailedError, Contents, make_backup
from monero_escrow.store.sealing import derive_key
from monero_escrow.store.transaction import Transaction


class ServerBacksUpError(EscrowError):
    """The database is on a PostgreSQL server, which is backed up and restored by its own tools."""

    code = "server_backs_up"
    what_to_do = "Use PostgreSQL's own tools, a base backup with its log or pg_dump: docs/postgresql.md says how."


Sample = Annotated[int, Parameter(validator=validators.Number(gte=1))]


def backup(file: Path | None = None, /, *, json_output: Json = False) -> None:
    """Make a consistent, encrypted copy of the database, also while the service runs, and check it.

    Parameters
    ----------
    file
        The new file, or a folder for one named after the time. Without it: a file in BACKUP_DIR.
    """
    settings, now = _with_a_file("backup"), time.time()
    final = _place(settings, file, now)
    detail = {"file": final.name}
    in_database(lambda tx: tx.audit.add(actor(), "backup_begun", now, detail=detail), writes=True)
    with ProgressBar() as bar:
        key = derive_key(settings.master_key(), "database")
        contents = make_backup(settings.database_path, final, key, now, bar)
    if json_output:
        print(json.dumps({"file": str(final), **asdict(contents)}))
        return
    print(final)
    print(_summary(contents))
    print("The key is not in it, and without DB_ENCRYPTION_KEY nobody can read it: keep both, in different places.")
    print("Copy the file to another machine. `monero-escrow restore FILE` brings it back; docs/backups.md says how.")


def _with_a_file(command: str) -> Settings:
    """The settings of a service whose database is a file. Raises ServerBacksUpError."""
    settings = load_settings()
    if settings.database_url is not None:
        raise ServerBacksUpError(f"`{command}` is for the encrypted file; DATABASE_URL names a PostgreSQL database.")
    return settings


def _place(settings: Settings, file: Path | None, now: float) -> Path:
    """Where the copy goes. Only the folder in DATA_DIR is made: any other that is missing may be an unmounted disk."""
    if file is not None and not file.is_dir():
        return file
    folder = file or settings.backup_folder
    if settings.backup_dir is None and file is None and settings.database_path.exists():
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise BackupFailedError(f"{folder} cannot be made: {error.strerror}.") from None
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    return folder / f"monero-escrow-{settings.monero_network}-{stamp}.backup"


def _summary(contents: Contents) -> str:
    newest = f", the newest of {moment(contents.newest_escrow_at)}" if contents.escrows else ""
    return (
        f"{contents.escrows} escrows{newest}; {contents.trios} trios of wallets, {contents.payouts} payouts; "
        f"{contents.size_bytes / 1e6:.1f} MB."
    )


def restore(file: Path, /, *, json_output: Json = False) -> None:
    """Put a backup where the database was. There must be none, and no service may run.

    Parameters
    ----------
    file
        What `monero-escrow backup` made.
    """
    settings = _with_a_file("restore")
    settings.master_key()  # before anything is made
    with only_one(settings.data_dir), ProgressBar() as bar:
        restored = asyncio.run(restores.restore(settings, file, time.time(), bar))
    if json_output:
        counts = {"quarantined": restored.quarantined, "recovered": restored.recovered}
        print(json.dumps({**asdict(restored.contents), **counts}))
        return
    copied_at = moment(restored.contents.copied_at)
    print(f"{settings.database_path} is as it was at {copied_at} UTC.")
    print(_summary(restored.contents))
    if settings.backup_url is None:
        print("BACKUP_URL is not set: an escrow that was made after the backup is not in it, and neither are its keys.")
    else:
        print(f"{restored.recovered} escrows whose addresses are newer came back from BACKUP_URL.")
    print(f"{restored.quarantined} trios that the lost database may have used are set aside.")
    print("API keys that were revoked since then open again, and those made since then do not: see `keys list`.")
    print("The lost database must never run again. The service asks the chain about everything before it signs.")


def drill(*escrow_ids: str, sample: Sample = 3, json_output: Json = False) -> int:
    """Rebuild escrows' wallets from the database alone, on processes of their own, and compare the addresses.

    Parameters
    ----------
    escrow_ids
        The escrows to try.
    sample
        Without escrow ids: so many, drawn by lot.
    """
    settings = load_settings()
    subjects = in_database(lambda tx: [drills.subject_of(tx, each) for each in escrow_ids or _drawn(tx, sample)])
    if not subjects:
        raise InvalidInputError(
            "No escrow has an address yet, so there is no wallet to rebuild.",
            what_to_do="Try again when there is an order; a drill needs no more than one.",
        )
    told = Console(stderr=True)

    def tell(proof: drills.Proof) -> None:
        told.print(f"{proof.escrow_id} {proof.role}: {_result(proof)} ({proof.seconds:.1f} s)", highlight=False)

    told.print(f"Rebuilding the wallets of {len(subjects)} escrows. The service's processes are not used.")
    with tempfile.TemporaryDirectory(prefix="monero-escrow-drill-") as folder:
        work = drills.drill(subjects, find_programs(), settings.monero_network, Path(folder), tell)
        proofs = asyncio.run(work)
    _print_proofs(proofs, json_output)
    return 1 if any(proof.trouble is not None for proof in proofs) else 0


def _drawn(tx: Transaction, sample: int) -> list[str]:
    there = drills.escrows_with_address(tx)
    return secrets.SystemRandom().sample(there, min(sample, len(there)))


def _result(proof: drills.Proof) -> str:
    return "same" if proof.trouble is None else proof.trouble


def _print_proofs(proofs: Sequence[drills.Proof], json_output: bool) -> None:
    if json_output:
        print(json.dumps([asdict(proof) | {"address": short(proof.address)} for proof in proofs]))
        return
    table = Table("escrow", "wallet", "address", "result", "seconds", box=None, pad_edge=False)
    for proof in proofs:
        table.add_row(proof.escrow_id, proof.role, short(proof.address), _result(proof), f"{proof.seconds:.1f}")
    console = Console()
    console.print(table)
    same = sum(proof.trouble is None for proof in proofs)
    console.print(f"{same} of {len(proofs)} wallets came back from the database with the same address.")
