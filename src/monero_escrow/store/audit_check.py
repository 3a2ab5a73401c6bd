"""Judge an audit trail row by row: which were changed, removed, inserted or moved, and where a tail was cut off.

Pure: rows come in the order of chain and sequence number, from a database or from an exported file. With the secret
keys every row is judged by its mac; with the public key alone by its hash, and the chains by signed checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby

from monero_escrow.store.audit_seal import GENESIS, AuditSeal, Checkpoint, SealedRow, link, name_of, same


class Problem(StrEnum):
    """What can be wrong. Programs may test for the values."""

    CHANGED = "changed"
    MISSING = "missing"
    INSERTED = "inserted"
    MOVED = "moved"
    CUT_OFF = "cut_off"
    HEAD = "head"
    CHECKPOINT = "checkpoint"
    UNCHAINED = "unchained"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong, and where: `seq` is the first row it concerns, `last` the last of several."""

    problem: Problem
    chain: str | None
    seq: int | None
    why: str
    last: int | None = None

    @property
    def message(self) -> str:
        """As a person is told of it."""
        where = "the trail" if self.chain is None else name_of(self.chain)
        if self.seq is None:
            return f"{where}: {self.why}"
        rows = f"row {self.seq}" if self.last in (None, self.seq) else f"rows {self.seq} to {self.last}"
        return f"{where}, {rows}: {self.why}"


@dataclass(frozen=True, slots=True)
class TrailRow:
    """A row as it was found; `previous` only where it was kept with the row, in a file."""

    id: int
    sealed: SealedRow
    hash: bytes
    mac: bytes
    previous: bytes | None = None


@dataclass(frozen=True, slots=True)
class ChainHead:
    """Where the database says that a chain ends, and up to which row a checkpoint signed it."""

    seq: int
    hash: bytes
    mac: bytes
    checkpointed_seq: int = 0


def canonical_if_any(row: SealedRow) -> bytes | None:
    """The row's bytes; None if it holds what has none (infinities, bytes, something very deep): nobody sealed that."""
    try:
        return row.canonical()
    except (ValueError, TypeError, RecursionError):
        return None


Promises = Mapping[str, Mapping[int, tuple[str, int]]]
"""Chain → sequence number → (hash in hex, number of the checkpoint that signed it)."""


def promises_of(signed: Iterable[Checkpoint]) -> dict[str, dict[int, tuple[str, int]]]:
    """What checkpoints promise of rows."""
    found: dict[str, dict[int, tuple[str, int]]] = {}
    for checkpoint in signed:
        for chain, seq, row_hash in checkpoint.heads:
            found.setdefault(chain, {})[seq] = (row_hash, checkpoint.number)
    return found


def check_checkpoints(found: Iterable[Checkpoint], public_key: bytes) -> Iterator[Trouble | Checkpoint]:
    """Each checkpoint that can be believed, and what is wrong with the others."""
    expected = 1
    for one in found:
        if one.number > expected:
            last = one.number - 1
            gone = f"checkpoint {last} is" if last == expected else f"checkpoints {expected} to {last} are"
            yield Trouble(Problem.CHECKPOINT, None, None, f"{gone} missing.")
        elif not one.signed_by(public_key):
            yield unsigned_checkpoint(one.number)
        else:
            yield one
        expected = one.number + 1


def changed_row(chain: str | None, seq: int | None) -> Trouble:
    """A row that is not as it was written."""
    return Trouble(Problem.CHANGED, chain, seq, "is not as the service wrote it.")


def trouble_of_head(seal: AuditSeal | None, chain: str, head: ChainHead | None) -> Trouble | None:
    """What is wrong with the note of where a chain ends, by itself. Without `seal` only whether there is one."""
    if head is None:
        return Trouble(Problem.HEAD, chain, None, "the note of where it ends was removed.")
    if seal is not None and not same(seal.of_head(chain, head.seq, head.hash), head.mac):
        return Trouble(Problem.HEAD, chain, None, "the note of where it ends was changed.")
    return None


def unsigned_checkpoint(number: int) -> Trouble:
    """A checkpoint whose signature does not fit."""
    return Trouble(Problem.CHECKPOINT, None, None, f"checkpoint {number} is not as it was signed.")


def removed_since(number: int, chain: str, first: int, last: int) -> Trouble:
    """Rows that checkpoint `number` signed and that are not there any more."""
    return Trouble(Problem.CUT_OFF, chain, first, f"signed by checkpoint {number}, and removed since.", last)


def check_last_checkpoints(heads: Mapping[str, ChainHead], promises: Promises) -> Iterator[Trouble]:
    """Checkpoints that were removed from the end: no number is missing then, but chains were signed further."""
    further = sorted(
        chain for chain, head in heads.items() if head.checkpointed_seq > max(promises.get(chain, {}), default=0)
    )
    if further:
        others = f" and {len(further) - 1} more" if len(further) > 1 else ""
        why = (
            f"what was signed last of {name_of(further[0])}{others} is in no checkpoint that can be believed: removed."
        )
        yield Trouble(Problem.CHECKPOINT, None, None, why)


@dataclass(slots=True)
class TrailCheck:
    """The judgement of one trail.

    `seal` is None where only hashes can be judged. `heads` is None where there are none (a file). `partial`: chains may
    begin with any row, because the earlier ones were not exported.
    """

    seal: AuditSeal | None
    heads: dict[str, ChainHead] | None
    promises: Promises
    partial: bool = False
    rows: int = 0
    chains: int = 0
    chained_later: int = 0
    _seen: set[str] = field(default_factory=set)

    def check(self, rows: Iterable[TrailRow]) -> Iterator[Trouble]:
        """Rows in the order of chain and sequence number, to the last one."""
        for chain, found in groupby(rows, key=lambda row: row.sealed.chain):
            if chain in self._seen:
                yield Trouble(Problem.MOVED, chain, None, "its rows do not stand together.")
            self._seen.add(chain)
            self.chains += 1
            yield from self._check_chain(chain, found)
        if self.heads is not None:
            for chain in sorted(self.heads.keys() - self._seen):
                yield Trouble(Problem.CUT_OFF, chain, 1, "all of its rows were removed.", self.heads[chain].seq)
        if not self.partial:
            without_head = self.promises.keys() - self._seen - (self.heads or {}).keys()
            for chain in sorted(without_head):
                last = max(self.promises[chain])
                yield Trouble(Problem.CUT_OFF, chain, 1, "signed by a checkpoint, and removed since.", last)

    def _check_chain(self, chain: str, found: Iterator[TrailRow]) -> Iterator[Trouble]:
        promised = self.promises.get(chain, {})
        head = None if self.heads is None else self.heads.get(chain)
        seq, previous, last_hash = 0, GENESIS, GENESIS
        trusted = True  # whether `previous` is what the service wrote
        last_ids: dict[float | None, int] = {}
        for row in found:
            self.rows += 1
            self.chained_later += row.sealed.chained_at is not None
            now = row.sealed.seq
            if now <= seq:
                yield Trouble(Problem.INSERTED, chain, now, "there are several of this number.")
                continue
            if now > seq + 1 and not (self.partial and seq == 0):
                yield Trouble(Problem.MISSING, chain, seq + 1, "removed.", now - 1)
            if now > seq + 1:
                previous, trusted = row.previous or b"", row.previous is not None and seq == 0
            trouble = self._judge(row, previous if trusted else None, head)
            if trouble is None and row.id <= last_ids.get(row.sealed.chained_at, 0):
                trouble = Trouble(Problem.MOVED, chain, now, "its id puts it before rows that were written earlier.")
            if trouble is None and (kept := promised.get(now)) is not None and kept[0] != row.hash.hex():
                trouble = Trouble(Problem.CHECKPOINT, chain, now, f"is not the row that checkpoint {kept[1]} signed.")
            if trouble is not None:
                yield trouble
            trusted = trouble is None or trouble.problem is Problem.MOVED
            last_ids[row.sealed.chained_at] = max(row.id, last_ids.get(row.sealed.chained_at, 0))
            seq, previous, last_hash = now, row.hash, row.hash
        yield from self._check_end(chain, head, seq, last_hash if trusted else None)
        yield from self._check_promised_end(chain, head, seq)

    def _judge(self, row: TrailRow, previous: bytes | None, head: ChainHead | None) -> Trouble | None:
        chain, seq = row.sealed.chain, row.sealed.seq
        canonical = canonical_if_any(row.sealed)
        if canonical is None:
            return Trouble(Problem.CHANGED, chain, seq, "holds a value that the service never writes.")
        if self.seal is not None:
            genuine = same(self.seal.of_row(row.hash, canonical), row.mac)
        else:
            genuine = row.previous is not None and link(row.previous, canonical) == row.hash
        if not genuine:
            if head is not None and seq > head.seq:
                return Trouble(Problem.INSERTED, chain, seq, "not written by the service.")
            return changed_row(chain, seq)
        follows = previous is None or link(previous, canonical) == row.hash
        if not follows or (previous is not None and row.previous not in (None, previous)):
            return Trouble(Problem.MOVED, chain, seq, "does not follow the row before it.")
        return None

    def _check_end(self, chain: str, head: ChainHead | None, seq: int, last_hash: bytes | None) -> Iterator[Trouble]:
        if self.heads is None:
            return
        trouble = trouble_of_head(self.seal, chain, head)
        if trouble is not None:
            yield trouble
        elif head is None:
            return
        elif head.seq > seq:
            yield Trouble(Problem.CUT_OFF, chain, seq + 1, "removed from the end.", head.seq)
        elif head.seq < seq:
            yield Trouble(Problem.INSERTED, chain, head.seq + 1, "not there when the service last wrote to it.", seq)
        elif last_hash is not None and last_hash != head.hash:
            yield Trouble(Problem.HEAD, chain, seq, "is not the row the chain ended with.")

    def _check_promised_end(self, chain: str, head: ChainHead | None, seq: int) -> Iterator[Trouble]:
        last = max(self.promises.get(chain, {}), default=0)
        if last > seq and (head is None or head.seq <= seq):
            yield removed_since(self.promises[chain][last][1], chain, seq + 1, last)


@dataclass(slots=True)
class Verified:
    """What a verification found. An empty `troubles` means that the trail is whole."""

    troubles: list[Trouble] = field(default_factory=list)
    rows: int = 0
    chains: int = 0
    checkpoints: int = 0
    chained_later: int = 0

    def believe(self, found: Iterable[Trouble | Checkpoint]) -> list[Checkpoint]:
        """Those of `check_checkpoints` that can be believed; the others are noted as troubles."""
        believed = []
        for one in found:
            if isinstance(one, Trouble):
                self.troubles.append(one)
            else:
                believed.append(one)
        self.checkpoints = len(believed)
        return believed

    def judge(self, check: TrailCheck, rows: Iterable[TrailRow]) -> None:
        """Note what `check` finds in all of these rows, and how much it went through."""
        self.troubles += check.check(rows)
        self.rows, self.chains, self.chained_later = check.rows, check.chains, check.chained_later
