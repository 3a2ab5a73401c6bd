"""The tables. Everything the service knows is here; a wallet file is only a cache.

Times are seconds since the epoch, UTC. Amounts are piconero. Columns ending in `_sealed` hold sealed bytes
(sealing.py). Invariants that the database itself can keep are constraints here: one escrow an order, one order an
address, one decision an output, one anchor a payout.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# An id that only grows: BIGINT on PostgreSQL, INTEGER on SQLite, where nothing else autoincrements.
_SERIAL = BigInteger().with_variant(Integer, "sqlite")

_IS_WORK = text("state IN ('setting_up', 'paying_out')")
_IS_HELD = text("node_id IS NOT NULL")
_FAILS = text("failures > 0")
_WAITS_FOR_A_PERSON = text("state = 'held'")


def _any_length(length: int) -> String:
    """A text that SQLite takes at any length whatever is declared, and PostgreSQL when none is."""
    return String(length).with_variant(Text(), "postgresql")


facts = Table(
    "facts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", _any_length(256), nullable=False),
    comment="What this database belongs to: the network, and which sealing key.",
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("scope", String(16), nullable=False),
    Column("shop_id", String(64)),
    Column("name", String(128), nullable=False),
    Column("key_hash", String(64), nullable=False, unique=True),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
    Column("last_used_at", Float),
    CheckConstraint("scope in ('shop', 'arbiter', 'operator')", name="scope"),
    CheckConstraint("scope <> 'shop' or shop_id is not null", name="shop"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("key_id", String(32), ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    comment="Who is signed in to the operator's pages, and with which key.",
)

escrows = Table(
    "escrows",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("shop_id", String(64), nullable=False),
    Column("order_id", String(128), nullable=False),
    Column("request_fingerprint", String(64), nullable=False),
    Column("state", String(32), nullable=False),
    Column("amount_piconero", BigInteger, nullable=False),
    Column("buyer_refund_address", String(128), nullable=False),
    Column("vendor_payout_address", String(128), nullable=False),
    Column("fee_bearer", String(16), nullable=False),
    Column("commission_address", String(128)),
    Column("commission_parts", Integer, nullable=False),
    Column("deposit_window_seconds", Float, nullable=False),
    Column("deposit_deadline", Float),
    Column("deposit_address", String(128), unique=True),
    Column("trio_id", String(32), ForeignKey("trios.id")),
    Column("due_at", Float, comment="when the service looks at it next; none: never by itself"),
    Column("due_height", BigInteger, comment="when the chain has so many blocks, it is looked at"),
    Column("rescan_from", BigInteger, comment="somebody wants it scanned for once more from this block on"),
    Column(
        "wakes", BigInteger, nullable=False, default=0, comment="grows when it is woken or moved: a look is overtaken"
    ),
    Column("in_pool_piconero", BigInteger, nullable=False, default=0, comment="on its way to the address, in no block"),
    Column("funded_piconero", BigInteger, comment="what counted when it became funded; less, and it is taken back"),
    Column("failures", Integer, nullable=False, default=0, comment="in a row, since the last step that worked"),
    Column("trouble", _any_length(1000), comment="why the last step did not work, for people"),
    Column("node_id", String(64), comment="who works on it; as long as that node's lease holds, nobody else does"),
    Column("home", String(64), comment="the name of the node that has its wallets' files"),
    Column("fence", BigInteger, nullable=False, default=0, comment="grows with each claim; a stale one is refused"),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    UniqueConstraint("shop_id", "order_id"),
    CheckConstraint("amount_piconero > 0", name="amount"),
    CheckConstraint("commission_parts between 0 and 10000", name="commission"),
    Index("ix_escrows_due_at", "due_at"),
    Index("ix_escrows_work_due_at", "due_at", postgresql_where=_IS_WORK, sqlite_where=_IS_WORK),
    Index("ix_escrows_node_id", "node_id", postgresql_where=_IS_HELD, sqlite_where=_IS_HELD),
    Index("ix_escrows_created_at", "created_at", "id"),
    Index("ix_escrows_shop_created_at", "shop_id", "created_at", "id"),
    Index("ix_escrows_due_height", "due_height"),
    Index("ix_escrows_rescan_from", "rescan_from"),
    Index("ix_escrows_state", "state", "created_at", "id"),
    Index("ix_escrows_failing", "id", postgresql_where=_FAILS, sqlite_where=_FAILS),
    Index("ix_escrows_counted", "state"),  # an eighth of the one above: how many are in each state is read from it
)

scanned_blocks = Table(
    "scanned_blocks",
    metadata,
    Column("height", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", String(64), nullable=False),
    comment="The last blocks in which the view keys were tried: where the scan goes on, and whether it stands.",
)

trios = Table(
    "trios",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("escrow_id", String(32), index=True, comment="for whom it was begun; none: stock"),
    Column("state", String(16), nullable=False, comment="making, ready, abandoned"),
    Column("restore_height", BigInteger, nullable=False),
    Column("address", String(128), unique=True),
    Column("view_key_sealed", LargeBinary),
    Column("sealing_key_id", String(16), nullable=False),
    Column("trouble", _any_length(1000)),
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float, index=True),
    Column("claimed_at", Float, comment="when an order took it from stock; none: it was made for one, or waits"),
    Column("node_id", String(64), comment="who makes it, while it is being made"),
    Column("home", String(64), comment="the name of the node that has its wallets' files"),
    Column("files_removed_at", Float, comment="when its wallets' files were removed; they can be made again"),
)

participants = Table(
    "participants",
    metadata,
    Column("trio_id", String(32), ForeignKey("trios.id"), primary_key=True),
    Column("role", String(16), primary_key=True),
    Column("hosted", Integer, nullable=False, comment="1: the service runs this participant's wallet"),
    Column("filename", String(64), unique=True),
    Column("primary_address", String(128), unique=True, comment="of the wallet before it became multisig"),
    Column("spend_key_sealed", LargeBinary, comment="the seed; the view key is its hash"),
    Column("password_sealed", LargeBinary),
    Column("opened_at", Float, index=True, comment="when a process was last told to open or make it"),
)

messages = Table(
    "messages",
    metadata,
    Column("trio_id", String(32), ForeignKey("trios.id"), primary_key=True),
    Column("role", String(16), primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("message_sealed", LargeBinary, nullable=False),
    Column("at", Float, nullable=False),
)

outputs = Table(
    "outputs",
    metadata,
    Column("escrow_id", String(32), ForeignKey("escrows.id"), primary_key=True),
    Column("public_key", String(64), primary_key=True),
    Column("txid", String(64), nullable=False),
    Column("amount_piconero", BigInteger, nullable=False),
    Column("height", BigInteger, nullable=False),
    Column("unlock_time", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("key_image", String(64), unique=True),
    Column("payout_id", String(32), ForeignKey("payouts.id"), index=True, comment="the one decision it belongs to"),
    Column("seen_at", Float, nullable=False),
    Column("final_at", Float, comment="when it was seen deeper than any reorganisation is expected to reach"),
)

payouts = Table(
    "payouts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("escrow_id", String(32), ForeignKey("escrows.id"), nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("anchor_public_key", String(64), nullable=False, unique=True),
    Column("plan", JSON, nullable=False),
    Column("decided_by", _any_length(128), nullable=False),
    Column("reason", _any_length(2000)),
    Column("fee_piconero", BigInteger),
    Column("shared_fee_piconero", BigInteger, comment="the fee that was divided among the shares"),
    Column("txid", String(64)),
    Column("raw_transaction_sealed", LargeBinary, comment="as broadcast; rebroadcast needs no wallet"),
    Column("mined_height", BigInteger),
    Column("further", Boolean, nullable=False, server_default=false(), comment="of coins that came to a closed escrow"),
    Column("failures", Integer, nullable=False, server_default="0", comment="that count, in a row, in this state"),
    Column("trouble", _any_length(1000)),
    Column("decided_at", Float, nullable=False),
    Column("broadcast_at", Float),
    Column("settled_at", Float),
    Column("final_at", Float, comment="when it was seen deeper than any reorganisation is expected to reach"),
    UniqueConstraint("escrow_id", "number"),
    Index("ix_payouts_held", "decided_at", postgresql_where=_WAITS_FOR_A_PERSON, sqlite_where=_WAITS_FOR_A_PERSON),
)

proposals = Table(
    "proposals",
    metadata,
    Column("payout_id", String(32), ForeignKey("payouts.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("fee_piconero", BigInteger, nullable=False),
    Column("shared_fee_piconero", BigInteger, comment="the fee that was divided among the shares"),
    Column("txset_sealed", LargeBinary, nullable=False),
    Column("signed_sealed", LargeBinary, comment="every signed blob is kept"),
    Column("txid", String(64), index=True),
    Column("proposed_at", Float, nullable=False),
    Column("signed_at", Float),
)

steps = Table(
    "steps",
    metadata,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    Column("escrow_id", String(32), ForeignKey("escrows.id"), index=True),
    Column("subject_id", String(32), nullable=False, comment="the trio or payout the step belongs to"),
    Column("name", String(64), nullable=False),
    Column("role", String(16)),
    Column("slot", String(128)),
    Column("intended_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("result", _any_length(1000), comment="ok, or what went wrong; none: it is not known whether it happened"),
    comment="The journal: a row before a step runs, its result after.",
)

audit = Table(
    "audit",
    metadata,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    Column("escrow_id", String(32), index=True),
    Column("at", Float, nullable=False),
    Column("actor", _any_length(128), nullable=False),
    Column("action", String(64), nullable=False),
    Column("from_state", String(32)),
    Column("to_state", String(32)),
    Column("detail", JSON, nullable=False),
    Column("chain", String(80), comment="an escrow's id, trio:ID or node:NAME; none: written by an earlier version"),
    Column("seq", BigInteger, comment="its place in the chain, from 1"),
    Column("source", String(64), comment="the network address of whoever asked for it"),
    Column("result", _any_length(1000), comment="ok, or what went wrong; none: the row itself is the result"),
    Column("chained_at", Float, comment="when it was chained, if later than it was written"),
    Column("hash", LargeBinary, comment="over the hash of the row before and this row"),
    Column("mac", LargeBinary, comment="over hash and row, under a key that is not in the database"),
    Index("ux_audit_chain", "chain", "seq", unique=True),
    comment="Who did what when; written in the transaction of the change it tells of.",
)

evidence = Table(
    "evidence",
    metadata,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    Column("escrow_id", String(32), ForeignKey("escrows.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("party", String(16), nullable=False, comment="buyer or vendor: whose word it is"),
    Column("text", Text, nullable=False),
    Column("sent_by", _any_length(128), nullable=False),
    Column("at", Float, nullable=False),
    CheckConstraint("party in ('buyer', 'vendor')", name="party"),
    comment="What the parties of a dispute say, for the arbiter.",
)

audit_heads = Table(
    "audit_heads",
    metadata,
    Column("chain", String(80), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    Column("checkpointed_seq", BigInteger, nullable=False, default=0),
    comment="Where each chain of the audit trail ends.",
)

audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("heads", JSON, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    comment="Signed: where the chains stood. Each is bound to the one before.",
)

events = Table(
    "events",
    metadata,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    Column("shop_id", String(64), nullable=False),
    Column("escrow_id", String(32), ForeignKey("escrows.id"), nullable=False),
    Column("type", String(64), nullable=False),
    Column("data", JSON, nullable=False),
    Column("at", Float, nullable=False),
    Index("ix_events_shop_id", "shop_id", "id"),
    comment="The outbox: what shops are told, written with the change itself.",
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("caller", String(96), primary_key=True),
    Column("key", String(128), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("response", JSON, nullable=False),
    Column("at", Float, nullable=False),
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", String(64), primary_key=True, comment="of one run of one node: a node that comes back has another"),
    Column("name", String(64), nullable=False, unique=True),
    Column("version", String(32), nullable=False),
    Column("slots", Integer, nullable=False, default=0),
    Column("started_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("lease_until", Float, nullable=False, comment="by the database's clock; later it holds nothing"),
    Column("draining_at", Float, comment="since when it takes up nothing new"),
    comment="The services that share this database.",
)

node_slots = Table(
    "node_slots",
    metadata,
    Column("place", String(256), primary_key=True, comment="where a process listens, however its URL is spelt"),
    Column("node_id", String(64), ForeignKey("nodes.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("url", String(256), nullable=False),
    comment="The wallet-rpc processes of each node: none serves two.",
)

duties = Table(
    "duties",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("node_id", String(64)),
    Column("fence", BigInteger, nullable=False, default=0, comment="grows with each claim; a stale one is refused"),
    comment="What one node at a time does for all, such as the scan of the chain.",
)

rate_shares = Table(
    "rate_shares",
    metadata,
    Column("node", String(64), primary_key=True),
    Column("run", String(32), nullable=False),
    Column("at", Float, nullable=False),
    Column("taken", JSON, nullable=False, comment="by bucket: which of that name, and how much"),
    comment="What each node let through lately, so that the limits hold for all nodes together.",
)
