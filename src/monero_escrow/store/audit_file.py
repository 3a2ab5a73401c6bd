"""The audit trail as a file that can be kept elsewhere: JSON Lines, and verified with the public key alone.

    {"type": "trail", …}        what this is, and the public key that signed it
    {"type": "row", …}          a row with its hash and that of the row before; by chain, then number
    {"type": "checkpoint", …}   where chains stood, signed
    {"type": "end", …}          how many lines there were, and the signature over all of them

Nothing here needs a secret to be read. The key in the file's first line proves nothing: give the one you kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from monero_escrow.core.errors import InvalidInputError
from monero_escrow.store.audit_check import (
    Problem,
    TrailCheck,
    TrailRow,
    Trouble,
    Verified,
    check_checkpoints,
    promises_of,
)
from monero_escrow.store.audit_checkpoints import checkpoints
from monero_escrow.store.audit_seal import GENESIS, AuditSeal, Checkpoint, SealedRow
from monero_escrow.store.audit_verify import trail_rows
from monero_escrow.store.durable_file import ExportFailedError, new_text_file
from monero_escrow.store.postgresql import be_patient
from monero_escrow.store.progress import Told, say_nothing
from monero_escrow.store.transaction import Transaction

VERSION: Final = 1
_FIELDS: Final = tuple(SealedRow.__slots__)
_LONGEST_LINE: Final = 4 * 1024 * 1024


class AuditFileError(InvalidInputError):
    """The file is none that `audit export` or `audit checkpoint` wrote, or it cannot be read."""

    code = "not_an_audit_file"
    what_to_do = "Name a file that `monero-escrow audit export` or `audit checkpoint` wrote."


@dataclass(frozen=True, slots=True)
class Exported:
    """How much there is in the file."""

    rows: int
    checkpoints: int


def export(
    tx: Transaction,
    file: Path,
    *,
    network: str,
    now: float,
    tell: Told = say_nothing,
    since: float | None = None,
    rows: bool = True,
) -> Exported:
    """Write the trail, or (`rows=False`) its checkpoints alone, in one moment's state.

    `since` leaves out rows that are earlier, seconds since the epoch. Make a checkpoint before: of rows after the last
    one, the file shows only as a whole that they were changed. Raises ExportFailedError.
    """
    be_patient(tx.connection)
    with new_text_file(file, encoding="ascii") as out:
        writer = _Writer(out, tx.audit.seal)
        writer.write("trail", version=VERSION, network=network, at=now, since=since, rows=rows)
        if rows:
            _write_rows(writer, trail_rows(tx.connection, tell), since)
        for one in checkpoints(tx.connection):
            writer.write("checkpoint", **_checkpoint_values(one))
        writer.end()
    return Exported(writer.counts.get("row", 0), writer.counts.get("checkpoint", 0))


@dataclass(slots=True)
class _Writer:
    out: TextIO
    seal: AuditSeal
    counts: dict[str, int] = field(default_factory=dict)
    _all: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=32))

    def write(self, kind: str, **values: Any) -> None:
        if kind == "trail":
            values["public_key"] = self.seal.public_key.hex()
        try:
            line = json.dumps({"type": kind, **values}, separators=(",", ":"), allow_nan=False) + "\n"
        except (ValueError, TypeError, RecursionError):
            why = f"A {kind} of the trail holds a value that the service never writes."
            raise ExportFailedError(why, what_to_do="Run `monero-escrow audit verify`: it names it.") from None
        self._all.update(line.encode("ascii"))
        self.out.write(line)
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def end(self) -> None:
        signature = self.seal.sign(self._all.digest()).hex()
        rows, signed = self.counts.get("row", 0), self.counts.get("checkpoint", 0)
        self.write("end", rows=rows, checkpoints=signed, signature=signature)


def _write_rows(writer: _Writer, rows: Iterable[TrailRow], since: float | None) -> None:
    """Each with the hash of the row before it in its chain, also where that one is left out."""
    chain, previous, begun = "", GENESIS, False
    for row in rows:
        if row.sealed.chain != chain:
            chain, previous, begun = row.sealed.chain, GENESIS, False
        begun = begun or since is None or row.sealed.at >= since  # from there on the chain is whole
        if begun:
            ends = {"hash": row.hash.hex(), "mac": row.mac.hex(), "previous": previous.hex()}
            writer.write("row", id=row.id, **asdict(row.sealed), **ends)
        previous = row.hash


def _checkpoint_values(one: Checkpoint) -> dict[str, Any]:
    values = {"number": one.number, "at": one.at, "previous": one.previous.hex()}
    return {**values, "heads": [list(head) for head in one.heads], "signature": one.signature.hex()}


# --- reading ---------------------------------------------------------------------------------------------------------


def read_checkpoints(file: Path) -> list[Checkpoint]:
    """Those in a file. Raises AuditFileError."""
    found = [_checkpoint_of(line) for line, _ in _lines(file) if line["type"] == "checkpoint"]
    if not found:
        raise AuditFileError(f"There is no checkpoint in {file.name}.")
    return found


def verify_file(file: Path, public_key: bytes, tell: Told = say_nothing, *, seal: AuditSeal | None = None) -> Verified:
    """Judge an exported file: its rows, its checkpoints, and that nothing was taken from it or added.

    With `seal` the rows' macs are judged as well. Raises AuditFileError for what is no such file at all.
    """
    found = Verified()
    first, signed, whole = _frame(file, public_key)
    found.troubles += whole
    believed = found.believe(check_checkpoints(signed, public_key))
    if first["rows"] is True:
        check = TrailCheck(seal, None, promises_of(believed), partial=first["since"] is not None)
        found.judge(check, _rows(file, tell))
    return found


def _frame(file: Path, public_key: bytes) -> tuple[Mapping[str, Any], Sequence[Checkpoint], list[Trouble]]:
    """First line and checkpoints, and what is wrong with the file as a whole."""
    first: Mapping[str, Any] | None = None
    signed, troubles, digest = [], [], hashlib.blake2b(digest_size=32)
    ended, rows = False, 0
    for line, raw in _lines(file):
        first = first or line
        if ended:
            troubles.append(Trouble(Problem.FILE, None, None, "there are lines after the end of the file."))
            break
        if line["type"] == "end":
            ended = True
            if not _is_signed(digest.digest(), line.get("signature"), public_key):
                troubles.append(Trouble(Problem.FILE, None, None, "the file is not as it was signed."))
        rows += line["type"] == "row"
        digest.update(raw)
        if line["type"] == "checkpoint":
            signed.append(_checkpoint_of(line))
    if first is None or first.get("type") != "trail" or first.get("version") != VERSION:
        raise AuditFileError(f"{file.name} is no audit trail.")
    if not ended:
        troubles.append(Trouble(Problem.FILE, None, None, "the end of the file is missing."))
    return {"rows": first.get("rows"), "since": first.get("since")}, signed, troubles


def _is_signed(digest: bytes, signature: object, public_key: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(bytes.fromhex(str(signature)), digest)
    except (InvalidSignature, ValueError):
        return False
    return True


def _lines(file: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Each line as JSON and as it stands there. Raises AuditFileError."""
    try:
        with file.open("rb") as lines:
            for number, raw in enumerate(iter(lambda: lines.readline(_LONGEST_LINE), b""), start=1):
                try:
                    line = json.loads(raw, parse_constant=_refuse)
                except (ValueError, RecursionError):
                    line = None
                if not isinstance(line, dict) or not isinstance(line.get("type"), str):
                    raise AuditFileError(f"Line {number} of {file.name} is none of an audit trail.")
                yield line, raw
    except OSError as error:
        raise AuditFileError(f"{file} cannot be read: {error.strerror}.") from None


def _refuse(constant: str) -> None:
    """NaN and infinities are no JSON, whatever Python's reader thinks."""
    raise ValueError(constant)


def _rows(file: Path, tell: Told) -> Iterator[TrailRow]:
    size, done = max(1, file.stat().st_size), 0
    for line, raw in _lines(file):
        done += len(raw)
        if line["type"] == "row":
            tell("verifying", done / size)
            yield _row_of(line)


def _row_of(line: Mapping[str, Any]) -> TrailRow:
    try:
        values = {name: line[name] for name in _FIELDS}
        ends = (bytes.fromhex(line[name]) for name in ("hash", "mac", "previous"))
        row = TrailRow(line["id"], SealedRow(**values), *ends)
    except (KeyError, TypeError, ValueError):
        raise AuditFileError("A row of the file lacks something.") from None
    chained_at_is_a_time = row.sealed.chained_at is None or isinstance(row.sealed.chained_at, float)
    if not (chained_at_is_a_time and isinstance(row.sealed.chain, str) and type(row.sealed.seq) is type(row.id) is int):
        raise AuditFileError("A row of the file is none.")
    return row


def _checkpoint_of(line: Mapping[str, Any]) -> Checkpoint:
    try:
        heads = [(str(chain), int(seq), str(row_hash)) for chain, seq, row_hash in line["heads"]]
        previous, signature = bytes.fromhex(line["previous"]), bytes.fromhex(line["signature"])
        return Checkpoint(int(line["number"]), float(line["at"]), previous, heads, signature)
    except (KeyError, TypeError, ValueError):
        raise AuditFileError("A checkpoint of the file lacks something.") from None
