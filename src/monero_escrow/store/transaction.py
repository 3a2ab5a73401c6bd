"""The tables, as they are within one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy import Connection

from monero_escrow.store.audit_seal import audit_seal
from monero_escrow.store.audit_table import AuditTable
from monero_escrow.store.escrow_table import EscrowTable
from monero_escrow.store.evidence_table import EvidenceTable
from monero_escrow.store.key_table import KeyTable
from monero_escrow.store.node_table import NodeTable
from monero_escrow.store.payout_table import OutputTable, PayoutTable
from monero_escrow.store.scan_table import ScanTable
from monero_escrow.store.sealing import Sealer
from monero_escrow.store.session_table import SessionTable
from monero_escrow.store.share_table import ShareTable
from monero_escrow.store.tally import Tally, take_tally
from monero_escrow.store.trail_tables import IdempotencyTable, Journal, Outbox
from monero_escrow.store.trio_table import TrioTable
from monero_escrow.store.work_table import WorkTable
from monero_escrow.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


class Transaction:
    """What a piece of work reads and writes; all of it commits together.

    In a transaction that writes, an escrow that was read is locked until the end: nobody else changes it meanwhile,
    on either engine.
    """

    def __init__(self, connection: Connection, sealer: Sealer, *, writes: bool = True) -> None:
        self.connection = connection
        self._after_commit: list[Callable[[], None]] = []
        self.metrics: Metrics | None = None
        self.escrows = EscrowTable(connection, locks=writes)
        self.trios = TrioTable(connection, sealer)
        self.scan = ScanTable(connection, self.trios)
        self.outputs = OutputTable(connection)
        self.payouts = PayoutTable(connection, sealer)
        self.journal = Journal(connection)
        self.audit = AuditTable(connection, audit_seal(sealer.key))
        self.outbox = Outbox(connection)
        self.idempotency = IdempotencyTable(connection, locks=writes)
        self.keys = KeyTable(connection)
        self.sessions = SessionTable(connection)
        self.evidence = EvidenceTable(connection)
        self.nodes = NodeTable(connection)
        self.shares = ShareTable(connection)
        self.work = WorkTable(connection)

    @contextmanager
    def part(self) -> Iterator[None]:
        """A part of the work that is undone by itself when it raises, and spoils nothing of the rest."""
        self.audit.write()  # what came before is not undone with it
        told, audit_rows, moves = len(self._after_commit), self.audit.added, len(self.payouts.moves)
        try:
            with self.audit.undone_with(self.outbox.undone_with(self.connection.begin_nested())):
                yield
        except BaseException:  # what it meant to tell and to count never happened
            self.audit.added = audit_rows
            del self._after_commit[told:], self.payouts.moves[moves:]
            raise

    def complete(self) -> None:
        """The work is done; next is the commit."""
        self.audit.write()
        self.outbox.write()

    def after_commit(self, tell: Callable[[], None]) -> None:
        """Call this once what was done here is durable: a log line must not tell of what never happened.

        What changes anything outside the database belongs here as well: work may be run again from its beginning.
        """
        self._after_commit.append(tell)

    def measure(self, observe: Callable[[Metrics], None]) -> None:
        """Observe this once what was done here is durable."""
        metrics = self.metrics
        if metrics is not None:
            self.after_commit(lambda: observe(metrics))

    def tally(self, now: float) -> Tally:
        """How much there is of everything."""
        return take_tally(self.connection, self.scan, self.trios, now)

    def committed(self) -> None:
        """It is durable. What goes wrong in the telling does not make it undone."""
        for tell in self._after_commit:
            try:
                tell()
            except Exception:
                log.exception("telling_failed")
