"""Databases at earlier schemas, and what a migration may not do to them while nodes of the earlier version go on.

A node that runs keeps its statements: they name the tables and columns of its own schema, give every column that must
have a value there, and leave out what may be empty. As long as a migration only adds, all of them mean the same after
it. Nothing is ever renamed or taken away in the same version that stops using it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, Inspector, MetaData, inspect
from sqlalchemy.types import BigInteger, Integer, String, TypeEngine

from monero_escrow.store import migrate, postgresql, sqlcipher

_NOT_OURS = "alembic_version"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    return config


REVISIONS = [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()][::-1]
"""The first schema first."""


def begin(engine: Engine) -> Any:
    """A transaction that writes."""
    of_kind = sqlcipher.begin if engine.dialect.name == "sqlite" else postgresql.begin
    return of_kind(engine, writes=True)


def upgrade(engine: Engine, revision: str) -> None:
    """Bring the database to this schema."""
    config = _config()
    with begin(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def tables_of(engine: Engine) -> MetaData:
    """The tables as they are there: what code of that schema knows of them."""
    found = MetaData()
    with engine.connect() as connection:
        found.reflect(connection)
    found.remove(found.tables[_NOT_OURS])
    return found


@dataclass(frozen=True)
class Look:
    """A database's tables at one moment: columns by name, and everything that forbids rows."""

    columns: dict[str, dict[str, dict[str, Any]]]
    rules: dict[str, frozenset[str]]

    @classmethod
    def at(cls, connection: Connection) -> Look:
        asked = inspect(connection)
        columns = {
            table: {column["name"]: dict(column) for column in found}
            for (_, table), found in asked.get_multi_columns().items()
            if table != _NOT_OURS
        }
        rules: dict[str, set[str]] = {table: set() for table in columns}
        for table, rule in _rules(asked):
            if table in rules:
                rules[table].add(rule)
        return cls(columns, {table: frozenset(found) for table, found in rules.items()})


def _rules(asked: Inspector) -> Iterator[tuple[str, str]]:
    """Table and rule, for every rule."""
    for (_, table), key in asked.get_multi_pk_constraint().items():
        yield table, f"primary key {key['constrained_columns']}"
    for (_, table), uniques in asked.get_multi_unique_constraints().items():
        yield from ((table, f"unique {sorted(one['column_names'])}") for one in uniques)
    for (_, table), indexes in asked.get_multi_indexes().items():
        yield from ((table, f"unique {sorted(map(str, one['column_names']))}") for one in indexes if one["unique"])
    for (_, table), checks in asked.get_multi_check_constraints().items():
        yield from ((table, f"check {one['name']}") for one in checks)
    for (_, table), keys in asked.get_multi_foreign_keys().items():
        yield from ((table, f"foreign key {one['constrained_columns']} to {one['referred_table']}") for one in keys)


def what_breaks(before: Look, after: Look) -> list[str]:
    """What code of the schema before could not do any more after it."""
    broken = []
    for table, columns in before.columns.items():
        if table not in after.columns:
            broken.append(f"{table} is gone")
            continue
        now = after.columns[table]
        broken += [f"{table}.{name} is gone" for name in columns if name not in now]
        broken += [
            f"{table}.{name}: {why}" for name in columns if name in now for why in _narrowed(columns[name], now[name])
        ]
        broken += [
            f"{table}.{name} is new and must have a value, which nothing gives"
            for name, column in now.items()
            if name not in columns and not column["nullable"] and column["default"] is None
        ]
        left_out = {name for name, column in now.items() if name not in columns and column["default"] is None}
        new_rules = sorted(after.rules[table] - before.rules[table])
        broken += [f"{table}: {rule} is new" for rule in new_rules if not _lets_pass(rule, left_out)]
    return broken


def _lets_pass(rule: str, left_out: set[str]) -> bool:
    """What leaves out one of a unique rule's columns is refused by no such rule, on either engine."""
    kind, _, columns = rule.partition(" ")
    return kind == "unique" and any(f"'{name}'" in columns for name in left_out)


def _narrowed(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    if before["nullable"] and not after["nullable"]:
        yield "may not be empty any more"
    if before["default"] is not None and after["default"] is None:
        yield "lost the value it had of itself"
    if not _takes_all_of(before["type"], after["type"]):
        yield f"{before['type']} became {after['type']}"


def _takes_all_of(before: TypeEngine[Any], after: TypeEngine[Any]) -> bool:
    if isinstance(before, String) and isinstance(after, String):
        return after.length is None or (before.length is not None and before.length <= after.length)
    if isinstance(before, Integer) and isinstance(after, BigInteger):
        return True
    return str(before) == str(after)
