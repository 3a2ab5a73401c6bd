"""Every secret of a run, and the places where none of them may ever stand."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select

from monero_escrow.store import schema
from monero_escrow.store.transaction import Transaction
from simulation.world import World

_PIECE = 40
_TOLD = (schema.audit, schema.events, schema.steps)


def found_secrets(world: World, log: str) -> tuple[list[str], int]:
    """Where a secret stands that must not, as sentences without it; and how many secrets were looked for.

    Looked through: the log as the service wrote it (before anything is redacted), what callers were told, the audit
    trail, events, journal and troubles, and the database's raw bytes, its write-ahead log included.
    """
    store = world.watch.store
    if store is None:
        return ["Nothing was ever stored."], 0
    secrets, addresses = store.read_now(lambda tx: (dict(_secrets(tx)), _addresses(tx)))
    secrets["the database's key"] = world.settings.master_key().hex()
    places = {
        "the log": log,
        "what callers are told": "\n".join(world.said),
        "the history": store.read_now(_history),
    }
    wrong = [
        f"{what} stands in {name}."
        for name, text in places.items()
        for what, secret in secrets.items()
        if _piece(secret) in text
    ]
    wrong += [f"A full address stands in {name}." for name in ("the log",) if any(a in places[name] for a in addresses)]
    files = b"".join(path.read_bytes() for path in sorted(world.settings.data_dir.glob("escrow.db*")))
    wrong += [
        f"{what} stands in the database's bytes."
        for what, secret in secrets.items()
        if _piece(secret).encode() in files or _as_bytes(secret) in files
    ]
    return wrong, len(secrets)


def _piece(secret: str) -> str:
    """Enough of a long secret to know it again; its beginning is the same in all messages."""
    middle = len(secret) // 2
    return secret if len(secret) <= 2 * _PIECE else secret[middle - _PIECE // 2 : middle + _PIECE // 2]


def _as_bytes(secret: str) -> bytes:
    try:
        return bytes.fromhex(secret)[:32]
    except ValueError:
        return secret.encode()


def _secrets(tx: Transaction) -> Iterator[tuple[str, str]]:
    """Every key, password, message and set, with what it is."""
    for row in tx.connection.execute(select(schema.trios.c.id, schema.trios.c.view_key_sealed)):
        trio = tx.trios.get(row.id)
        if row.view_key_sealed is not None:
            yield f"the view key of {trio.id}", tx.trios.view_key(trio.id)
        for role, participant in trio.participants.items():
            yield f"the {role}'s spend key of {trio.id}", participant.spend_key
            yield f"the {role}'s password of {trio.id}", participant.password
        for (made, role), message in trio.exchange.messages.items():
            yield f"the {role}'s message of round {int(made)} of {trio.id}", message
    t = schema.proposals
    for proposal in tx.connection.execute(select(t.c.payout_id, t.c.number, t.c.txid, t.c.txset_sealed)):
        where = f"{proposal.payout_id}/{proposal.number}"
        yield f"the unsigned set {where}", tx.payouts._sealer.open("txset", where, proposal.txset_sealed)
        if proposal.txid is not None:
            yield f"the signed set {where}", tx.payouts.signed(proposal.payout_id, proposal.txid)


def _addresses(tx: Transaction) -> list[str]:
    return list(tx.connection.scalars(select(schema.trios.c.address).where(schema.trios.c.address.is_not(None))))


def _history(tx: Transaction) -> str:
    """Everything that is written for people to read."""
    lines = [str(tuple(row)) for table in _TOLD for row in tx.connection.execute(select(table))]
    for table in (schema.escrows, schema.trios, schema.payouts):
        lines += [str(trouble) for trouble in tx.connection.scalars(select(table.c.trouble))]
    return "\n".join(lines)
