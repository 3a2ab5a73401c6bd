"""How long the verification of a long audit trail takes: `python tests/audit_hundred_thousand.py [ROWS]`.

docs/audit.md prints what it said. It makes a database of its own in a folder that is gone afterwards.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from monero_escrow.store.audit_checkpoints import make_checkpoint
from monero_escrow.store.audit_file import export, verify_file
from monero_escrow.store.audit_verify import verify
from monero_escrow.store.opening import open_sqlcipher
from monero_escrow.store.transaction import Transaction
from unit.rows import MASTER_KEY, NETWORK

_ROWS_AN_ESCROW = 30
_TOGETHER = 1_000


def main(rows: int) -> None:
    """Write so many rows as a busy service does, then verify them in the database and in an export."""
    with TemporaryDirectory() as folder:
        store = open_sqlcipher(Path(folder) / "escrow.db", MASTER_KEY, NETWORK)
        begun = time.perf_counter()
        for first in range(0, rows, _TOGETHER):
            store.write_now(lambda tx, first=first: _write(tx, first))  # type: ignore[misc]
        while store.write_now(lambda tx: make_checkpoint(tx, 2e9)) is not None:
            pass
        written = time.perf_counter()
        found = store.read_now(verify)
        verified = time.perf_counter()
        assert (found.troubles, found.rows) == ([], rows)
        file = Path(folder) / "trail.jsonl"
        store.read_now(lambda tx: export(tx, file, network=NETWORK, now=2e9))
        exported = time.perf_counter()
        found = verify_file(file, store.read_now(lambda tx: tx.audit.seal.public_key))
        assert (found.troubles, found.rows) == ([], rows)
        sys.stdout.write(
            f"{rows} rows: written in {written - begun:.1f} s, verified in {verified - written:.1f} s, "
            f"exported in {exported - verified:.1f} s ({file.stat().st_size / 1e6:.0f} MB), "
            f"the export verified in {time.perf_counter() - exported:.1f} s\n"
        )
        store.close()


def _write(tx: Transaction, first: int) -> None:
    for number in range(first, first + _TOGETHER):
        detail = {"step": "exchange", "slots": {"buyer": "buyer@127.0.0.1:1", "vendor": "vendor@127.0.0.1:2"}}
        escrow_id = f"{number // _ROWS_AN_ESCROW:024x}"
        tx.audit.add("service", "wallet_operation", 1.7e9 + number, escrow_id=escrow_id, detail=detail, result="ok")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
