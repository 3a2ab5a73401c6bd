"""Outputs that came, the decisions they belong to, and every transaction proposed for each decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, func, insert, literal_column, select, update

from monero_escrow.core.deposits import OutputStatus
from monero_escrow.core.errors import ConflictError, InvariantError, NotFoundError
from monero_escrow.core.payout import Beneficiary, FeeBearer, PayoutKind, Plan, PlanOutput, Share
from monero_escrow.core.payout_states import PayoutState, check_move
from monero_escrow.core.roles import Role
from monero_escrow.store import schema
from monero_escrow.store.records import OutputRecord, PayoutRecord, RulingRecord
from monero_escrow.store.sealing import Sealer

_TXSET, _SIGNED, _RAW = "txset", "signed transaction", "raw transaction"
_LARGEST_UNLOCK_TIME = 2**63 - 1


class OutputTable:
    """The `outputs` table in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of(self, escrow_id: str) -> list[OutputRecord]:
        """Everything that was ever seen at the escrow's address, oldest first."""
        t = schema.outputs
        query = select(t).where(t.c.escrow_id == escrow_id).order_by(t.c.height, t.c.public_key)
        return [_output(row) for row in self._connection.execute(query)]

    def key_image(self, escrow_id: str, public_key: str) -> str:
        """An output's key image. Raises NotFoundError before two wallets have exchanged their infos."""
        t = schema.outputs
        where = (t.c.escrow_id == escrow_id, t.c.public_key == public_key)
        image: str | None = self._connection.scalar(select(t.c.key_image).where(*where))
        if image is None:
            raise NotFoundError("The output's key image is not known yet.")
        return image

    def add(self, output: OutputRecord) -> None:
        """An output that was not known yet. An unlock_time beyond every block and date is kept as the largest there is.

        Monero lets the sender choose any 64-bit number; the column is signed, and a stranger's coin must not stop us.
        """
        values = asdict(output) | {"unlock_time": min(output.unlock_time, _LARGEST_UNLOCK_TIME)}
        self._connection.execute(insert(schema.outputs).values(**values))

    def change(self, escrow_id: str, public_key: str, **values: Any) -> None:
        """New height, status or key image of a known output."""
        t = schema.outputs
        where = (t.c.escrow_id == escrow_id, t.c.public_key == public_key)
        self._connection.execute(update(t).where(*where).values(**values))

    def forget(self, escrow_id: str, public_key: str) -> None:
        """An output that fell out of the chain before any decision named it."""
        t = schema.outputs
        where = (t.c.escrow_id == escrow_id, t.c.public_key == public_key, t.c.payout_id.is_(None))
        self._connection.execute(t.delete().where(*where))

    def give_to_payout(self, escrow_id: str, public_keys: Iterable[str], payout_id: str) -> None:
        """Freeze outputs in a decision. Raises ConflictError if any of them belongs to another one."""
        wanted = list(public_keys)
        t = schema.outputs
        where = (t.c.escrow_id == escrow_id, t.c.public_key.in_(wanted), t.c.payout_id.is_(None))
        changed = self._connection.execute(update(t).where(*where).values(payout_id=payout_id))
        if changed.rowcount != len(wanted):
            raise ConflictError("One of these outputs belongs to another decision.")


class PayoutTable:
    """The `payouts` and `proposals` tables in one transaction."""

    def __init__(self, connection: Connection, sealer: Sealer) -> None:
        self._connection = connection
        self._sealer = sealer
        self.moves: list[tuple[PayoutKind, PayoutState]] = []
        """What came to which state in this transaction."""

    def add(
        self,
        payout_id: str,
        escrow_id: str,
        number: int,
        plan: Plan,
        *,
        decided_by: str,
        reason: str | None,
        now: float,
        further: bool = False,
    ) -> None:
        """A decision. Its anchor can be no other payout's: the database refuses that."""
        self._connection.execute(
            insert(schema.payouts).values(
                id=payout_id,
                escrow_id=escrow_id,
                number=number,
                kind=plan.kind,
                state=PayoutState.DECIDED,
                anchor_public_key=plan.anchor.public_key,
                plan=_plan_as_json(plan),
                decided_by=decided_by,
                reason=reason,
                decided_at=now,
                further=further,
                failures=0,
            )
        )
        self.moves.append((plan.kind, PayoutState.DECIDED))

    def of(self, escrow_id: str) -> list[PayoutRecord]:
        """Every decision about an escrow's coins, the first first."""
        t = schema.payouts
        query = select(t).where(t.c.escrow_id == escrow_id).order_by(t.c.number)
        return [_payout(row) for row in self._connection.execute(query)]

    def held(self, limit: int) -> list[PayoutRecord]:
        """Payouts that wait for a person, the longest waiting first."""
        t = schema.payouts
        # Written out: a parameter's value is not known when the statement is planned, and the partial index not found.
        query = select(t).where(t.c.state == literal_column("'held'")).order_by(t.c.decided_at).limit(limit)
        return [_payout(row) for row in self._connection.execute(query)]

    def rulings(self, limit: int) -> list[RulingRecord]:
        """The newest rulings that stand, each once however many payouts it is. Reads every payout: not for a poll."""
        t, e = schema.payouts, schema.escrows
        stands = (t.c.kind == PayoutKind.RULING, t.c.state != PayoutState.CALLED_OFF)
        columns = (t.c.escrow_id, e.c.order_id, e.c.shop_id, t.c.decided_by, t.c.reason, t.c.decided_at)
        query = select(*columns).join_from(t, e, e.c.id == t.c.escrow_id).where(*stands).distinct()
        found = self._connection.execute(query.order_by(t.c.decided_at.desc(), t.c.escrow_id).limit(limit))
        return [RulingRecord(**row._mapping) for row in found]

    def get(self, payout_id: str) -> PayoutRecord:
        """Raises NotFoundError."""
        row = self._connection.execute(select(schema.payouts).where(schema.payouts.c.id == payout_id)).one_or_none()
        if row is None:
            raise NotFoundError("There is no such payout.")
        return _payout(row)

    def move(self, payout: PayoutRecord, state: PayoutState, *, trouble: str | None = None, **values: Any) -> None:
        """Take a payout to another state, with what changes with it; its failures are forgotten.

        Raises InvariantError for a move that core/payout_states.py does not have, or when the payout has been moved
        since it was read.
        """
        check_move(payout.state, state)
        t = schema.payouts
        where = (t.c.id == payout.id, t.c.state == payout.state)
        moved = self._connection.execute(
            update(t).where(*where).values(state=state, trouble=trouble, failures=0, **values)
        )
        if moved.rowcount != 1:
            raise InvariantError("The payout was moved by somebody else.")
        self.moves.append((payout.plan.kind, state))

    def call_off(self, payout: PayoutRecord, now: float) -> None:
        """Give a held payout up for good, and its outputs and anchor back to whatever is decided next."""
        self.move(payout, PayoutState.CALLED_OFF, anchor_public_key=f"called off: {payout.id}", final_at=now)
        outputs = schema.outputs
        given_back = update(outputs).where(outputs.c.payout_id == payout.id).values(payout_id=None)
        self._connection.execute(given_back)

    def write_off(self, payout: PayoutRecord, reason: str, now: float) -> None:
        """A held payout whose coins are gone: they stay with it, so that nothing is ever decided about them again."""
        self.move(payout, PayoutState.WRITTEN_OFF, trouble=reason, final_at=now)

    def count_failure(self, payout_id: str) -> None:
        """One more failure in a row in the state the payout is in."""
        t = schema.payouts
        self._connection.execute(update(t).where(t.c.id == payout_id).values(failures=t.c.failures + 1))

    def forget_failures(self, payout_id: str) -> None:
        """A step worked: what comes now is no failure in a row."""
        self._change(payout_id, failures=0)

    def seen_mined(self, payout_id: str, height: int | None) -> None:
        """In which block its transaction is now; None: in none."""
        self._change(payout_id, mined_height=height)

    def final(self, payout_id: str, now: float) -> None:
        """Nobody expects a reorganisation that reaches it any more."""
        self._change(payout_id, final_at=now)

    def _change(self, payout_id: str, **values: Any) -> None:
        self._connection.execute(update(schema.payouts).where(schema.payouts.c.id == payout_id).values(**values))

    def add_proposal(
        self, payout_id: str, txset: str, fee_piconero: int, now: float, *, shared_fee_piconero: int | None = None
    ) -> int:
        """Keep an unsigned set before anything is signed; its number within the payout."""
        t = schema.proposals
        last = self._connection.scalar(select(func.max(t.c.number)).where(t.c.payout_id == payout_id))
        number = (last or 0) + 1
        sealed = self._sealer.seal(_TXSET, f"{payout_id}/{number}", txset)
        self._connection.execute(
            insert(t).values(
                payout_id=payout_id,
                number=number,
                fee_piconero=fee_piconero,
                shared_fee_piconero=shared_fee_piconero,
                txset_sealed=sealed,
                proposed_at=now,
            )
        )
        return number

    def keep_signed(self, payout_id: str, number: int, blob: str, txid: str, now: float) -> None:
        """Keep a signed transaction, before it is submitted and for ever."""
        t = schema.proposals
        sealed = self._sealer.seal(_SIGNED, f"{payout_id}/{number}", blob)
        where = (t.c.payout_id == payout_id, t.c.number == number)
        self._connection.execute(update(t).where(*where).values(signed_sealed=sealed, txid=txid, signed_at=now))

    def signed_txids(self, payout_id: str) -> list[str]:
        """Every transaction that was ever signed for a payout, the first first."""
        t = schema.proposals
        where = (t.c.payout_id == payout_id, t.c.txid.is_not(None))
        return list(self._connection.scalars(select(t.c.txid).where(*where).order_by(t.c.number)))

    def fees_of(self, payout_id: str, txid: str) -> tuple[int, int | None]:
        """Fee, and the fee that was divided among the shares, of a signed transaction. Raises NotFoundError."""
        t = schema.proposals
        row = self._connection.execute(select(t).where(t.c.payout_id == payout_id, t.c.txid == txid)).first()
        if row is None:
            raise NotFoundError("There is no signed transaction with this id.")
        return row.fee_piconero, row.shared_fee_piconero

    def signed(self, payout_id: str, txid: str) -> str:
        """The signed blob of a txid. Raises NotFoundError."""
        t = schema.proposals
        row = self._connection.execute(select(t).where(t.c.payout_id == payout_id, t.c.txid == txid)).one_or_none()
        if row is None:
            raise NotFoundError("There is no signed transaction with this id.")
        return self._sealer.open(_SIGNED, f"{payout_id}/{row.number}", row.signed_sealed)

    def keep_raw(self, payout_id: str, raw_hex: str) -> None:
        """Keep the transaction as the network has it."""
        self._change(payout_id, raw_transaction_sealed=self._sealer.seal(_RAW, payout_id, raw_hex))

    def raw(self, payout_id: str) -> str | None:
        """The transaction as the network had it; None before it was broadcast."""
        sealed = self._connection.scalar(
            select(schema.payouts.c.raw_transaction_sealed).where(schema.payouts.c.id == payout_id)
        )
        return None if sealed is None else self._sealer.open(_RAW, payout_id, sealed)


def _output(row: Row[Any]) -> OutputRecord:
    return OutputRecord(**{**row._mapping, "status": OutputStatus(row.status)})


def _payout(row: Row[Any]) -> PayoutRecord:
    return PayoutRecord(
        id=row.id,
        escrow_id=row.escrow_id,
        number=row.number,
        state=PayoutState(row.state),
        plan=_plan_from_json(row.plan),
        decided_by=row.decided_by,
        reason=row.reason,
        fee_piconero=row.fee_piconero,
        shared_fee_piconero=row.shared_fee_piconero,
        txid=row.txid,
        mined_height=row.mined_height,
        trouble=row.trouble,
        decided_at=row.decided_at,
        broadcast_at=row.broadcast_at,
        settled_at=row.settled_at,
        further=row.further,
        failures=row.failures,
        final_at=row.final_at,
    )


def _plan_as_json(plan: Plan) -> Mapping[str, Any]:
    """Amounts as text: JSON's numbers are not ours to trust with 64 bits."""
    return {
        "kind": plan.kind,
        "outputs": [[output.public_key, str(output.amount_piconero)] for output in plan.outputs],
        "shares": [[share.beneficiary, share.address, str(share.gross_piconero)] for share in plan.shares],
        "fee_bearer": plan.fee_bearer,
        "proposer": plan.proposer,
        "cosigner": plan.cosigner,
    }


def _plan_from_json(plan: Mapping[str, Any]) -> Plan:
    return Plan(
        kind=PayoutKind(plan["kind"]),
        outputs=tuple(PlanOutput(public_key, int(piconero)) for public_key, piconero in plan["outputs"]),
        shares=tuple(Share(Beneficiary(who), address, int(piconero)) for who, address, piconero in plan["shares"]),
        fee_bearer=FeeBearer(plan["fee_bearer"]),
        proposer=Role(plan["proposer"]),
        cosigner=Role(plan["cosigner"]),
    )
