"""What `doctor` says of the database: the file, or the server and the nodes that share it. It changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from monero_escrow.cli.findings import Finding, Level
from monero_escrow.config import Settings
from monero_escrow.core.errors import EscrowError
from monero_escrow.core.words import lasting
from monero_escrow.service import open_store
from monero_escrow.store import facts
from monero_escrow.store.audit_glance import glance
from monero_escrow.store.migrate import SchemaMissingError
from monero_escrow.store.node_table import NodeRecord
from monero_escrow.store.opening import DatabaseMovedError, PostgresqlStore, open_sqlcipher
from monero_escrow.store.postgresql import Proof, place_of, proof_of
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction

_WHAT: Final = "database"
_MOST_CLOCK_DIFFERENCE_SECONDS: Final = 5.0
_AUDIT: Final = "audit trail"
_LONGEST_UNSIGNED_SECONDS: Final = 3_600.0
_MOST_TROUBLES: Final = 5
_TLS: Final = text("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl")


@dataclass(frozen=True, slots=True)
class _Server:
    """A server as one look shows it. `clock_ahead_seconds` is what its clock is ahead of this machine's."""

    version: str
    tls: str | None
    history: str | None
    nodes: Sequence[NodeRecord]
    now: float
    clock_ahead_seconds: float


async def database_findings(settings: Settings) -> list[Finding]:
    """Of the file in DATA_DIR, or of the PostgreSQL database of DATABASE_URL."""
    url = settings.database_url
    try:
        settings.master_key()
        if url is None and not settings.database_path.exists():
            return [Finding(Level.OK, _WHAT, f"will be made in {settings.data_dir}")]
        store = open_store(settings, migrates=False)
    except SchemaMissingError:
        where = settings.data_dir if url is None else place_of(url.get_secret_value())
        return [Finding(Level.OK, _WHAT, f"will be made in {where}")]
    except EscrowError as error:
        return [Finding.of(_WHAT, error)]
    try:
        found = [await _contents(store), *await _audit(store)]
        if isinstance(store, PostgresqlStore) and url is not None:
            found += _of_server(url.get_secret_value(), await _look(store), store.history.known, settings.node_name)
            found += _file_beside(settings)
    except EscrowError as error:
        return [Finding.of(_WHAT, error)]
    else:
        return found
    finally:
        store.close()


async def _contents(store: SqlStore) -> Finding:
    counts = await store.read(lambda tx: tx.escrows.counts())
    if await store.read(lambda tx: facts.waits_for_check(tx.connection)):
        hint = "Start the service with a daemon that is synchronised: it asks once, and then goes on."
        return Finding(Level.WARNING, _WHAT, "restored from a backup; signs nothing before the chain is asked", hint)
    return Finding(Level.OK, _WHAT, f"opens; {sum(counts.values())} escrows")


async def _audit(store: SqlStore) -> list[Finding]:
    """A quick look only: the whole trail may take minutes."""
    seen = await store.read(glance)
    verify = "`monero-escrow audit verify` looks at all of it"
    if seen.troubles:
        hint = f"Find out who changed the database beside the service: {verify}."
        return [Finding(Level.ERROR, _AUDIT, trouble.message, hint) for trouble in seen.troubles[:_MOST_TROUBLES]]
    if seen.unsigned_seconds > _LONGEST_UNSIGNED_SECONDS:
        message = f"no checkpoint signs what was done in the {lasting(seen.unsigned_seconds)} before its newest row"
        hint = "Start the service, which signs every ten minutes; or `monero-escrow audit checkpoint FILE` signs now."
        return [Finding(Level.WARNING, _AUDIT, message, hint)]
    return [Finding(Level.OK, _AUDIT, f"the newest {seen.rows} rows and their chains are whole; {verify}")]


async def _look(store: PostgresqlStore) -> _Server:
    def look(tx: Transaction) -> _Server:
        begun = time.time()
        now = tx.nodes.now()
        ended = time.time()
        return _Server(
            version=str(tx.connection.scalar(text("SHOW server_version"))).partition(" ")[0],
            tls=tx.connection.scalar(_TLS),
            history=facts.read_facts(tx.connection).get(facts.SERVER_HISTORY),
            nodes=tx.nodes.all(),
            now=now,
            clock_ahead_seconds=max(0.0, now - ended) - max(0.0, begun - now),
        )

    return await store.read(look)


def _of_server(url: str, server: _Server, history: str, own_name: str) -> Iterator[Finding]:
    yield Finding(Level.OK, "server", f"PostgreSQL {server.version} at {place_of(url)}")
    if server.history not in (None, history):
        hint = "Start the service with a daemon that is synchronised: it asks the chain once, and then goes on."
        message = "was replaced, or set back to an earlier state, since it was last used"
        yield Finding(Level.WARNING, "server", message, hint)
    yield tls_finding(url, server.tls)
    yield _clock(server.clock_ahead_seconds)
    yield from _nodes(server, own_name)


def tls_finding(url: str, used: str | None) -> Finding:
    """Across a network the server must prove who it is: others could else read what is asked, and answer.

    `used` is the version of TLS that the connection has.
    """
    proof = proof_of(url)
    connection = f"encrypted ({used})" if used else "not encrypted"
    if proof is not Proof.NONE:
        return Finding(Level.OK, "TLS", connection + ("; the server is on this machine" if proof is Proof.NEAR else ""))
    hint = "Add sslmode=verify-full&sslrootcert=FILE to DATABASE_URL: docs/postgresql.md."
    return Finding(Level.WARNING, "TLS", f"{connection}, and nobody checks that it is this server", hint)


def _clock(ahead_seconds: float) -> Finding:
    seconds = abs(ahead_seconds)
    if seconds <= _MOST_CLOCK_DIFFERENCE_SECONDS:
        return Finding(Level.OK, "clock", "agrees with the database's")
    message = f"is {seconds:,.0f} s {'behind' if ahead_seconds > 0 else 'ahead of'} the database's, which nodes go by"
    return Finding(Level.WARNING, "clock", message, "Set the machines' clocks (NTP), the server's first.")


def _nodes(server: _Server, own_name: str) -> Iterator[Finding]:
    alive = [node.name for node in server.nodes if node.alive]
    if alive:
        yield Finding(Level.OK, "nodes", f"{', '.join(alive)} {'is' if len(alive) == 1 else 'are'} alive")
    else:
        yield Finding(Level.OK, "nodes", f"none is alive; this one would be {own_name}")
    for node in server.nodes:
        if not node.alive:
            message = f"{node.name} has been silent for {server.now - node.seen_at:,.0f} s; others do its work"
            hint = f"Start it again; if it is gone for good: `monero-escrow nodes forget {node.name}`."
            yield Finding(Level.WARNING, "nodes", message, hint)


def _file_beside(settings: Settings) -> Iterator[Finding]:
    """A file that was not moved may have escrows that nobody looks at."""
    if not settings.database_path.exists():
        return
    try:
        open_sqlcipher(settings.database_path, settings.master_key(), settings.monero_network, migrates=False).close()
    except DatabaseMovedError:
        return
    except EscrowError as error:
        message = f"{settings.database_path} is there too, and is not used. {error.message}"
    else:
        message = f"{settings.database_path} is there too, and is not used: its escrows are not looked at"
    hint = "If they belong to this service: `monero-escrow migrate-store`, into an empty database. Else move it away."
    yield Finding(Level.WARNING, _WHAT, message, hint)
