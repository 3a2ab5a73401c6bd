"""Every secret that a service's database keeps sealed, opened with its own key; none can be forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from sqlalchemy import Table, select

from monero_escrow.core.address import Network
from monero_escrow.core.keys import WalletKeys
from monero_escrow.store import schema
from monero_escrow.store.opening import open_sqlcipher
from monero_escrow.store.sealing import Sealer, derive_key
from monero_escrow.store.transaction import Transaction

# Where each kind of sealed value stands: (purpose, the row's name).
_SEALED: Mapping[str, tuple[str, Callable[[Mapping[str, object]], str]]] = {
    "trios.view_key_sealed": ("view key", lambda row: f"{row['id']}"),
    "participants.spend_key_sealed": ("spend key", lambda row: f"{row['trio_id']}/{row['role']}"),
    "participants.password_sealed": ("password", lambda row: f"{row['trio_id']}/{row['role']}"),
    "messages.message_sealed": ("message", lambda row: f"{row['trio_id']}/{row['role']}/{row['round']}"),
    "payouts.raw_transaction_sealed": ("raw transaction", lambda row: f"{row['id']}"),
    "proposals.txset_sealed": ("txset", lambda row: f"{row['payout_id']}/{row['number']}"),
    "proposals.signed_sealed": ("signed transaction", lambda row: f"{row['payout_id']}/{row['number']}"),
}
_TRAILS = (schema.audit, schema.events, schema.steps, schema.idempotency_keys)


async def secrets_and_trails(database: Path, master_key: bytes) -> tuple[dict[str, str], str]:
    """The secrets by what they are; and as one text the tables that tell what happened, which hold none."""
    derived = {f"{purpose} key": derive_key(master_key, purpose).hex() for purpose in ("database", "sealing")}
    sealer = Sealer(derive_key(master_key, "sealing"))
    store = open_sqlcipher(database, master_key, Network.REGTEST, migrates=False)
    try:
        opened = await store.read(lambda tx: _opened(tx, sealer))
        trails = await store.read(lambda tx: "\n".join(repr(row) for table in _TRAILS for row in _rows(tx, table)))
    finally:
        store.close()
    return derived | opened, trails


def _opened(tx: Transaction, sealer: Sealer) -> dict[str, str]:
    columns = {f"{table.name}.{column.name}" for table in schema.metadata.sorted_tables for column in table.c}
    assert {name for name in columns if name.endswith("_sealed")} == _SEALED.keys(), "a kind of secret is not sought"
    found: dict[str, str] = {}
    for name, (purpose, row_name) in _SEALED.items():
        table, column = name.split(".")
        for row in _rows(tx, schema.metadata.tables[table]):
            sealed = row[column]
            if isinstance(sealed, bytes):
                found[f"{purpose} of {row_name(row)}"] = sealer.open(purpose, row_name(row), sealed)
    for name, spend_key in [row for row in found.items() if row[0].startswith("spend key")]:
        keys = WalletKeys.from_entropy(bytes.fromhex(spend_key), Network.REGTEST)
        found[f"view key that belongs to the {name}"] = keys.private_view_key_hex
    return found


def _rows(tx: Transaction, table: Table) -> list[dict[str, object]]:
    return [dict(row._mapping) for row in tx.connection.execute(select(table))]
