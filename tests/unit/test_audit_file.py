"""An exported trail is judged by itself, with the public key alone: whatever is done to the file is found."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monero_escrow.store.audit_check import Problem
from monero_escrow.store.audit_checkpoints import make_checkpoint
from monero_escrow.store.audit_file import AuditFileError, export, read_checkpoints, verify_file
from monero_escrow.store.audit_seal import audit_seal, seal_of
from monero_escrow.store.audit_verify import verify
from monero_escrow.store.durable_file import ExportFailedError
from monero_escrow.store.store import SqlStore
from unit.engines import on_both_engines
from unit.rows import MASTER_KEY
from unit.trails import verified, write_a_trail

EXAMPLES = int(os.environ.get("AUDIT_EXAMPLES", "60"))
SEAL = seal_of(MASTER_KEY)
PUBLIC_KEY = SEAL.public_key


def exported(store: SqlStore, file: Path, **how: Any) -> list[dict[str, Any]]:
    """As the command does it: every row is under a checkpoint first."""
    while store.write_now(lambda tx: make_checkpoint(tx, 5.0)) is not None:
        pass
    store.read_now(lambda tx: export(tx, file, network="stagenet", now=5.0, **how))
    return [json.loads(line) for line in file.read_text("ascii").splitlines()]


def written(lines: list[dict[str, Any]], file: Path) -> Path:
    file.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines), "ascii")
    return file


@on_both_engines
def test_an_exported_trail_is_whole_with_the_public_key_alone_and_with_the_secret_ones(
    store: SqlStore, tmp_path: Path
) -> None:
    rows = store.write_now(lambda tx: write_a_trail(tx, random.Random(1), 40))
    lines = exported(store, tmp_path / "trail.jsonl")

    for seal in (None, SEAL):
        found = verify_file(tmp_path / "trail.jsonl", PUBLIC_KEY, seal=seal)
        assert found.troubles == []
        assert found.rows == len(rows) == 40
    assert {line["type"] for line in lines} == {"trail", "row", "checkpoint", "end"}
    assert (tmp_path / "trail.jsonl").stat().st_mode & 0o777 == 0o600
    other = audit_seal(bytes(32)).public_key
    assert {one.problem for one in verify_file(tmp_path / "trail.jsonl", other).troubles} == {
        Problem.FILE,
        Problem.CHECKPOINT,
    }


def test_an_export_from_some_time_on_is_whole_as_well_and_replaces_nothing(store: SqlStore, tmp_path: Path) -> None:
    store.write_now(lambda tx: write_a_trail(tx, random.Random(2), 40))
    lines = exported(store, tmp_path / "late.jsonl", since=1e9)

    assert 0 < sum(line["type"] == "row" for line in lines) < 40
    assert verify_file(tmp_path / "late.jsonl", PUBLIC_KEY).troubles == []
    with pytest.raises(ExportFailedError):
        exported(store, tmp_path / "late.jsonl")
    with pytest.raises(ExportFailedError):
        exported(store, tmp_path / "missing" / "late.jsonl")
    assert [path.name for path in tmp_path.glob("*.jsonl")] == ["late.jsonl"]


@given(seed=st.integers(0, 2**32), secret=st.booleans())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_done_to_the_file_is_found_and_a_row_is_named(
    store: SqlStore, tmp_path: Path, seed: int, secret: bool
) -> None:
    chance, file = random.Random(seed), tmp_path / "base.jsonl"
    if not file.exists():
        store.write_now(lambda tx: write_a_trail(tx, random.Random(3), 40))
        exported(store, file)
    lines = [json.loads(line) for line in file.read_text("ascii").splitlines()]
    rows = [number for number, line in enumerate(lines) if line["type"] == "row"]
    which = chance.choice(rows)
    row = lines[which]
    named = {(row["chain"], row["seq"])}
    match chance.randrange(5):
        case 0:
            column = chance.choice(["actor", "action", "hash", "previous", "at", "detail", "escrow_id", "result"])
            row[column] = {"at": 1.25, "detail": {"x": 1}, "hash": "00" * 32, "previous": "11" * 32}.get(column, "x")
            named.add((row["chain"], row["seq"] + 1))
        case 1:
            del lines[which]
        case 2:
            other = chance.choice([number for number in rows if number != which])
            named |= {(lines[other]["chain"], lines[other]["seq"])}
            lines[which], lines[other] = lines[other], lines[which]
        case 3:
            lines.insert(which, dict(row))
        case _:
            del lines[chance.choice(rows) :]
            named = set()
    changed = written(lines, tmp_path / "changed.jsonl")

    found = verify_file(changed, PUBLIC_KEY, seal=SEAL if secret else None)

    assert any(one.problem is Problem.FILE for one in found.troubles)
    at_rows = [one for one in found.troubles if one.seq is not None]
    hit = [one for one in at_rows for chain, seq in named if one.chain == chain]
    assert hit or not named, f"seed {seed}: {found.troubles}"


@on_both_engines
def test_a_kept_checkpoint_names_what_was_cut_off_since(store: SqlStore, tmp_path: Path) -> None:
    store.write_now(lambda tx: write_a_trail(tx, random.Random(4), 30))
    exported(store, tmp_path / "kept.jsonl", rows=False)
    kept = read_checkpoints(tmp_path / "kept.jsonl")
    assert verified(store, kept=kept).troubles == []

    forged = kept[-1].__class__(kept[-1].number, kept[-1].at, kept[-1].previous, (), kept[-1].signature)
    assert [one.problem for one in verified(store, kept=[*kept, forged]).troubles] == [Problem.FILE]
    store.write_now(lambda tx: tx.connection.exec_driver_sql("DELETE FROM audit_checkpoints") and None)
    troubles = store.read_now(lambda tx: verify(tx, kept=kept)).troubles
    assert {one.problem for one in troubles} == {Problem.CHECKPOINT}
    assert "was removed in the database" in troubles[0].message


@pytest.mark.parametrize(
    "text",
    ["", "\n", "[]\n", "{}\n", '{"type": "trail"}\n', '{"type": "trail", "version": 2}\n', "\x00\xff\n", "{" * 100_000],
)
def test_a_file_of_another_kind_is_refused_with_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "other").write_text(text, "latin-1")
    with pytest.raises(AuditFileError):
        verify_file(tmp_path / "other", PUBLIC_KEY)
    with pytest.raises(AuditFileError):
        read_checkpoints(tmp_path / "other")
    with pytest.raises(AuditFileError):
        verify_file(tmp_path / "not there", PUBLIC_KEY)


def test_rows_and_checkpoints_that_lack_something_are_refused_with_a_sentence(store: SqlStore, tmp_path: Path) -> None:
    store.write_now(lambda tx: write_a_trail(tx, random.Random(3), 40))
    lines = exported(store, tmp_path / "base.jsonl")
    for kind in ("row", "checkpoint"):
        which = next(number for number, line in enumerate(lines) if line["type"] == kind)
        for name in set(lines[which]) - {"type"}:
            for wrong in ({"without": 0}, {name: ["x"]}):
                line = {key: value for key, value in lines[which].items() if key != name} | wrong
                file = written([*lines[:which], line, *lines[which + 1 :]], tmp_path / "wrong.jsonl")
                try:
                    found = verify_file(file, PUBLIC_KEY)
                except AuditFileError:
                    continue
                assert found.troubles, (kind, name, wrong)
