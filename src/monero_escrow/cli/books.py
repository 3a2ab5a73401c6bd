"""`monero-escrow audit books`: every deposit and payout, for accountants. Reads, and changes nothing."""

from __future__ import annotations

from pathlib import Path

from monero_escrow.cli.database import in_database
from monero_escrow.cli.options import Since, parsed_time
from monero_escrow.core.errors import InvalidInputError
from monero_escrow.escrows.books import entries, write_csv, write_json_lines
from monero_escrow.store.durable_file import new_text_file
from monero_escrow.store.postgresql import be_patient
from monero_escrow.store.transaction import Transaction


def write_books(file: Path, /, *, since: Since = None) -> None:
    """Write every deposit and payout into a new file for accountants.

    Parameters
    ----------
    file
        NAME.csv, or NAME.jsonl for JSON Lines; nothing is ever replaced.
    """
    kinds = {".csv": write_csv, ".jsonl": write_json_lines}
    if file.suffix not in kinds:
        raise InvalidInputError("The books are .csv or .jsonl.", what_to_do="Let the file's name end in one of them.")
    write, first = kinds[file.suffix], parsed_time(since)

    def read_and_write(tx: Transaction) -> int:
        be_patient(tx.connection)
        with new_text_file(file) as out:
            return write(entries(tx, first), out)

    print(f"{in_database(read_and_write)} entries in {file}.")
