"""Trios and their wallets: seeds, passwords and multisig messages, sealed before anything depends on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, func, insert, or_, select, true, update

from monero_escrow.core.address import Network, parse_address
from monero_escrow.core.errors import ConflictError, NotFoundError
from monero_escrow.core.key_exchange import KeyExchange, Round
from monero_escrow.core.roles import Role
from monero_escrow.store import schema
from monero_escrow.store.node_table import living
from monero_escrow.store.records import ParticipantRecord, TrioRecord, TrioState
from monero_escrow.store.sealing import Sealer
from monero_escrow.store.work_table import ClaimLostError

_t = schema.trios
_IN_STOCK = and_(_t.c.escrow_id.is_(None), _t.c.state == TrioState.READY)
_OLDEST_IN_STOCK = select(_t.c.id).where(_IN_STOCK).order_by(_t.c.finished_at).limit(1)
_CLAIM = (
    update(_t)
    .where(_t.c.id == _OLDEST_IN_STOCK.with_for_update(skip_locked=True).scalar_subquery(), _IN_STOCK)
    .values(
        escrow_id=bindparam("claimed_for"),
        claimed_at=bindparam("now"),
        restore_height=case(
            (_t.c.restore_height < bindparam("birthday"), bindparam("birthday")), else_=_t.c.restore_height
        ),
    )
)

_HAS_MAKER = _t.c.node_id.in_(living())
_HAS_NO_MAKER = or_(_t.c.node_id.is_(None), _t.c.node_id.not_in(living()))

_SPEND_KEY, _PASSWORD, _MESSAGE, _VIEW_KEY = "spend key", "password", "message", "view key"


@dataclass(frozen=True, slots=True)
class Maker:
    """Which node makes a trio: its run, and its name; of a service without nodes neither."""

    node_id: str | None
    node_name: str | None


NOBODY = Maker(None, None)


class TrioTable:
    """The `trios`, `participants` and `messages` tables in one transaction."""

    def __init__(self, connection: Connection, sealer: Sealer) -> None:
        self._connection = connection
        self._sealer = sealer

    def add(self, trio_id: str, escrow_id: str | None, restore_height: int, now: float, maker: Maker = NOBODY) -> None:
        """A trio whose set-up begins, on the node that is its `maker`."""
        self._connection.execute(
            insert(schema.trios).values(
                id=trio_id,
                escrow_id=escrow_id,
                state=TrioState.MAKING,
                restore_height=restore_height,
                sealing_key_id=self._sealer.key_id,
                created_at=now,
                node_id=maker.node_id,
                home=maker.node_name,
            )
        )

    def add_hosted(self, participants: Iterable[ParticipantRecord], now: float) -> None:
        """Wallets the service is about to make: their keys are durable before any process hears of them."""
        for participant in participants:
            row = f"{participant.trio_id}/{participant.role}"
            self._connection.execute(
                insert(schema.participants).values(
                    trio_id=participant.trio_id,
                    role=participant.role,
                    hosted=1,
                    filename=participant.filename,
                    primary_address=participant.primary_address,
                    spend_key_sealed=self._sealer.seal(_SPEND_KEY, row, participant.spend_key),
                    password_sealed=self._sealer.seal(_PASSWORD, row, participant.password),
                    opened_at=now,
                )
            )

    def add_messages(self, trio_id: str, made: Round, messages: dict[Role, str], now: float) -> None:
        """The messages of a round, before the next round depends on them."""
        for role, message in messages.items():
            sealed = self._sealer.seal(_MESSAGE, _message_row(trio_id, role, made), message)
            self._connection.execute(
                insert(schema.messages).values(
                    trio_id=trio_id, role=role, round=int(made), message_sealed=sealed, at=now
                )
            )

    def finish(self, trio_id: str, address: str, view_key: str, network: Network, now: float) -> None:
        """The gate has passed: the trio has an address.

        The third of the three places that keep a bad address from being shown: one that does not decode is refused.
        Raises InvalidAddressError, or ClaimLostError when the set-up was given up meanwhile.
        """
        if not self._finish(trio_id, address, view_key, network, now, of=_t.c.state == TrioState.MAKING):
            raise ClaimLostError("The set-up was given up meanwhile: nobody may come to know its address.")

    def _finish(
        self, trio_id: str, address: str, view_key: str, network: Network, now: float, *, of: ColumnElement[bool]
    ) -> bool:
        parse_address(address, network)
        finished = update(_t).where(_t.c.id == trio_id, of)
        sealed = self._sealer.seal(_VIEW_KEY, trio_id, view_key)
        values = {"state": TrioState.READY, "address": address, "view_key_sealed": sealed, "finished_at": now}
        return self._connection.execute(finished.values(**values)).rowcount == 1

    def abandon(self, trio_id: str, trouble: str, now: float) -> None:
        """The set-up could not be finished; its rows stay as history."""
        self._connection.execute(
            update(schema.trios)
            .where(schema.trios.c.id == trio_id, schema.trios.c.state == TrioState.MAKING)
            .values(state=TrioState.ABANDONED, trouble=trouble, finished_at=now)
        )

    def abandon_unfinished(self, escrow_id: str, trouble: str, now: float) -> None:
        """Every earlier attempt for this escrow that was never finished."""
        self._abandon_all(_t.c.escrow_id == escrow_id, trouble, now)

    def abandon_left_over(self, trouble: str, now: float, of: Maker = NOBODY) -> None:
        """Every attempt for the stock whose maker is not there any more, and those of this one, which makes none."""
        nobodys = or_(_HAS_NO_MAKER, _t.c.node_id == of.node_id)
        self._abandon_all(and_(_t.c.escrow_id.is_(None), nobodys), trouble, now)

    def _abandon_all(self, which: ColumnElement[bool], trouble: str, now: float) -> None:
        unfinished = select(_t.c.id).where(which, _t.c.state == TrioState.MAKING)
        for trio_id in self._connection.scalars(unfinished).all():
            self.abandon(trio_id, trouble, now)

    def claim(self, escrow_id: str, restore_height: int, now: float) -> bool:
        """Take the oldest finished trio without an escrow for this one; False when there is none.

        One row, changed in one statement, only while it is still unclaimed: whoever comes second gets another or none.
        Its wallets' birthday becomes `restore_height`, unless it is later already.
        """
        values = {"claimed_for": escrow_id, "now": now, "birthday": restore_height}
        if self._connection.execute(_CLAIM, values).rowcount != 1:
            return False
        home = select(_t.c.home).where(_t.c.escrow_id == escrow_id, _t.c.state == TrioState.READY).scalar_subquery()
        escrows = schema.escrows
        self._connection.execute(update(escrows).where(escrows.c.id == escrow_id).values(home=home))
        return True

    def finished_for(self, escrow_id: str) -> tuple[str, str] | None:
        """Id and address of the trio that was made or claimed for this escrow, once it has passed the gate."""
        query = select(_t.c.id, _t.c.address).where(_t.c.escrow_id == escrow_id, _t.c.state == TrioState.READY)
        row = self._connection.execute(query.order_by(_t.c.finished_at.desc()).limit(1)).one_or_none()
        return None if row is None else (row.id, row.address)

    def stock_ages(self, now: float) -> list[float]:
        """How many seconds ago each finished trio that nobody has claimed passed the gate, the oldest first."""
        query = select(_t.c.finished_at).where(_IN_STOCK).order_by(_t.c.finished_at)
        return [now - finished_at for finished_at in self._connection.scalars(query)]

    def set_ups_since(self, finished_after: float, limit: int) -> list[tuple[float, float]]:
        """When trios passed the gate, and how many seconds after their beginning: those later than this, in order."""
        query = select(_t.c.finished_at, _t.c.finished_at - _t.c.created_at).where(_t.c.finished_at > finished_after)
        return [(at, took) for at, took in self._connection.execute(query.order_by(_t.c.finished_at).limit(limit))]

    def stock_made_elsewhere(self, here: Maker) -> int:
        """How many trios other nodes are making for the stock this moment."""
        being_made = and_(
            _t.c.escrow_id.is_(None), _t.c.state == TrioState.MAKING, _HAS_MAKER, _t.c.node_id != here.node_id
        )
        return self._connection.scalar(select(func.count()).where(being_made)) or 0

    def quarantine_unclaimed(self, trouble: str) -> int:
        """In a restored backup: trios of which nobody knows what the original did with them. How many there are.

        Stock may have been claimed there, and a set-up that was under way may have ended with an address that was
        shown. What an escrow's own row names is known, and stays.
        """
        t, e = schema.trios, schema.escrows
        named = select(e.c.trio_id).where(e.c.trio_id.is_not(None))
        stock = and_(t.c.state == TrioState.READY, t.c.escrow_id.is_(None), t.c.id.not_in(named))
        unclaimed = or_(t.c.state == TrioState.MAKING, stock)
        values = {"state": TrioState.QUARANTINED, "trouble": trouble}
        return self._connection.execute(update(t).where(unclaimed).values(**values)).rowcount

    def quarantine(self, trio_id: str, trouble: str) -> None:
        """Keep this trio for its keys, and hand it out to nobody."""
        values = {"state": TrioState.QUARANTINED, "trouble": trouble}
        self._connection.execute(update(schema.trios).where(schema.trios.c.id == trio_id).values(**values))

    def bring_back(self, trio: TrioRecord, view_key: str, network: Network, now: float) -> None:
        """A finished trio that was kept elsewhere, whole; or what is missing of it here.

        Raises ConflictError when another trio has its id or its address.
        """
        known = self._connection.execute(select(schema.trios).where(schema.trios.c.id == trio.id)).one_or_none()
        if known is None:
            self.add(trio.id, trio.escrow_id, trio.restore_height, now)
            self.add_hosted(trio.participants.values(), now)
        elif known.escrow_id not in (trio.escrow_id, None) or self._participants(trio.id) != dict(trio.participants):
            raise ConflictError("The database has another trio of the same id.")
        address = trio.finished_address
        other = select(schema.trios.c.id).where(schema.trios.c.address == address, schema.trios.c.id != trio.id)
        if self._connection.execute(other).first() is not None:
            raise ConflictError("The database has another trio with the same address.")
        stored = self._exchange(trio.id, None).messages
        for (made, role), message in trio.exchange.messages.items():
            if (made, role) not in stored:
                self.add_messages(trio.id, made, {role: message}, now)
        self._finish(trio.id, address, view_key, network, now, of=true())
        values = {"escrow_id": trio.escrow_id, "restore_height": trio.restore_height, "trouble": None}
        self._connection.execute(update(schema.trios).where(schema.trios.c.id == trio.id).values(**values))

    def find(self, trio_id: str) -> TrioRecord | None:
        """The trio with its secrets opened, if there is one. Raises SealBrokenError."""
        try:
            return self.get(trio_id)
        except NotFoundError:
            return None

    def get(self, trio_id: str) -> TrioRecord:
        """The trio with its secrets opened. Raises NotFoundError, SealBrokenError."""
        row = self._connection.execute(select(schema.trios).where(schema.trios.c.id == trio_id)).one_or_none()
        if row is None:
            raise NotFoundError("There is no such trio.")
        return TrioRecord(
            id=row.id,
            escrow_id=row.escrow_id,
            state=TrioState(row.state),
            restore_height=row.restore_height,
            address=row.address,
            participants=self._participants(trio_id),
            exchange=self._exchange(trio_id, row.address),
        )

    def knows_wallet(self, address: str) -> bool:
        """Whether a wallet with this address, multisig or not yet, is one of ours."""
        t, p = schema.trios, schema.participants
        found = (
            select(t.c.id)
            .where(t.c.address == address)
            .union(select(p.c.trio_id).where(p.c.primary_address == address))
        )
        return self._connection.execute(found).first() is not None

    def about_to_open(self, trio_id: str, roles: Iterable[Role], now: float) -> None:
        """Processes are about to be told to open these wallets; if one is found open later, it is known as ours."""
        p = schema.participants
        where = (p.c.trio_id == trio_id, p.c.role.in_(list(roles)))
        self._connection.execute(update(p).where(*where).values(opened_at=now))
        back = and_(schema.trios.c.id == trio_id, schema.trios.c.files_removed_at.is_not(None))
        self._connection.execute(update(schema.trios).where(back).values(files_removed_at=None))

    def recent_passwords(self, role: Role, limit: int = 50) -> list[str]:
        """Passwords of the wallets of this role that were opened last, the latest first."""
        p = schema.participants
        query = (
            select(p.c.trio_id, p.c.password_sealed)
            .where(p.c.role == role, p.c.hosted == 1, p.c.opened_at.is_not(None))
            .order_by(p.c.opened_at.desc())
            .limit(limit)
        )
        rows = self._connection.execute(query)
        return [self._sealer.open(_PASSWORD, f"{row.trio_id}/{role}", row.password_sealed) for row in rows]

    def view_key(self, trio_id: str) -> str:
        """The private view key of a finished trio. Raises NotFoundError."""
        sealed = self._connection.scalar(select(schema.trios.c.view_key_sealed).where(schema.trios.c.id == trio_id))
        if sealed is None:
            raise NotFoundError("The trio has no view key yet.")
        return self._sealer.open(_VIEW_KEY, trio_id, sealed)

    def _participants(self, trio_id: str) -> dict[Role, ParticipantRecord]:
        table = schema.participants
        found: dict[Role, ParticipantRecord] = {}
        for row in self._connection.execute(select(table).where(table.c.trio_id == trio_id, table.c.hosted == 1)):
            role, where = Role(row.role), f"{trio_id}/{row.role}"
            found[role] = ParticipantRecord(
                trio_id=trio_id,
                role=role,
                filename=row.filename,
                primary_address=row.primary_address,
                password=self._sealer.open(_PASSWORD, where, row.password_sealed),
                spend_key=self._sealer.open(_SPEND_KEY, where, row.spend_key_sealed),
            )
        return found

    def _exchange(self, trio_id: str, address: str | None) -> KeyExchange:
        table = schema.messages
        messages = {}
        for row in self._connection.execute(select(table).where(table.c.trio_id == trio_id)):
            made, role = Round(row.round), Role(row.role)
            messages[made, role] = self._sealer.open(_MESSAGE, _message_row(trio_id, role, made), row.message_sealed)
        return KeyExchange(messages, {} if address is None else dict.fromkeys(Role, address))


def _message_row(trio_id: str, role: Role, made: Round) -> str:
    return f"{trio_id}/{role}/{int(made)}"
