"""the first schema"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("shop_id", sa.String(length=64), nullable=True),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=True),
        sa.Column("revoked_at", sa.Float(), nullable=True),
        sa.Column("last_used_at", sa.Float(), nullable=True),
        sa.CheckConstraint("scope <> 'shop' or shop_id is not null", name=op.f("ck_api_keys_shop")),
        sa.CheckConstraint("scope in ('shop', 'arbiter', 'operator')", name=op.f("ck_api_keys_scope")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_keys_key_hash")),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("escrow_id", sa.String(length=32), nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("from_state", sa.String(length=32), nullable=True),
        sa.Column("to_state", sa.String(length=32), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        comment="Who did what when; written in the transaction of the change it tells of.",
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_escrow_id"), ["escrow_id"], unique=False)

    op.create_table(
        "facts",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.String(length=256), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_facts")),
        comment="What this database belongs to: the network, and which sealing key.",
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("caller", sa.String(length=96), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("response", sa.JSON(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_table(
        "trios",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("escrow_id", sa.String(length=32), nullable=True, comment="for whom it was begun; none: stock"),
        sa.Column("state", sa.String(length=16), nullable=False, comment="making, ready, abandoned"),
        sa.Column("restore_height", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.String(length=128), nullable=True),
        sa.Column("view_key_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("sealing_key_id", sa.String(length=16), nullable=False),
        sa.Column("trouble", sa.String(length=1000), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trios")),
        sa.UniqueConstraint("address", name=op.f("uq_trios_address")),
    )
    with op.batch_alter_table("trios", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_trios_escrow_id"), ["escrow_id"], unique=False)

    op.create_table(
        "escrows",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("shop_id", sa.String(length=64), nullable=False),
        sa.Column("order_id", sa.String(length=128), nullable=False),
        sa.Column("request_fingerprint", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("amount_piconero", sa.BigInteger(), nullable=False),
        sa.Column("buyer_refund_address", sa.String(length=128), nullable=False),
        sa.Column("vendor_payout_address", sa.String(length=128), nullable=False),
        sa.Column("fee_bearer", sa.String(length=16), nullable=False),
        sa.Column("commission_address", sa.String(length=128), nullable=True),
        sa.Column("commission_parts", sa.Integer(), nullable=False),
        sa.Column("deposit_window_seconds", sa.Float(), nullable=False),
        sa.Column("deposit_deadline", sa.Float(), nullable=True),
        sa.Column("deposit_address", sa.String(length=128), nullable=True),
        sa.Column("trio_id", sa.String(length=32), nullable=True),
        sa.Column(
            "due_at", sa.Float(), nullable=True, comment="when the service looks at it next; none: never by itself"
        ),
        sa.Column(
            "wakes", sa.BigInteger(), nullable=False, comment="grows when it is woken or moved: a look is overtaken"
        ),
        sa.Column(
            "in_pool_piconero", sa.BigInteger(), nullable=False, comment="on its way to the address, in no block"
        ),
        sa.Column("failures", sa.Integer(), nullable=False, comment="in a row, since the last step that worked"),
        sa.Column(
            "trouble", sa.String(length=1000), nullable=True, comment="why the last step did not work, for people"
        ),
        sa.Column("node_id", sa.String(length=64), nullable=True, comment="who works on it"),
        sa.Column("fence", sa.BigInteger(), nullable=False, comment="grows with each claim; a stale one is refused"),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.CheckConstraint("amount_piconero > 0", name=op.f("ck_escrows_amount")),
        sa.CheckConstraint("commission_parts between 0 and 10000", name=op.f("ck_escrows_commission")),
        sa.ForeignKeyConstraint(["trio_id"], ["trios.id"], name=op.f("fk_escrows_trio_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_escrows")),
        sa.UniqueConstraint("deposit_address", name=op.f("uq_escrows_deposit_address")),
        sa.UniqueConstraint("shop_id", "order_id", name=op.f("uq_escrows_shop_id")),
    )
    with op.batch_alter_table("escrows", schema=None) as batch_op:
        batch_op.create_index("ix_escrows_due_at", ["due_at"], unique=False)
        batch_op.create_index("ix_escrows_state", ["state", "created_at", "id"], unique=False)

    op.create_table(
        "messages",
        sa.Column("trio_id", sa.String(length=32), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("message_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["trio_id"], ["trios.id"], name=op.f("fk_messages_trio_id")),
        sa.PrimaryKeyConstraint("trio_id", "role", "round", name=op.f("pk_messages")),
    )
    op.create_table(
        "participants",
        sa.Column("trio_id", sa.String(length=32), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("hosted", sa.Integer(), nullable=False, comment="1: the service runs this participant's wallet"),
        sa.Column("filename", sa.String(length=64), nullable=True),
        sa.Column(
            "primary_address", sa.String(length=128), nullable=True, comment="of the wallet before it became multisig"
        ),
        sa.Column("spend_key_sealed", sa.LargeBinary(), nullable=True, comment="the seed; the view key is its hash"),
        sa.Column("password_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("opened_at", sa.Float(), nullable=True, comment="when a process was last told to open or make it"),
        sa.ForeignKeyConstraint(["trio_id"], ["trios.id"], name=op.f("fk_participants_trio_id")),
        sa.PrimaryKeyConstraint("trio_id", "role", name=op.f("pk_participants")),
        sa.UniqueConstraint("filename", name=op.f("uq_participants_filename")),
        sa.UniqueConstraint("primary_address", name=op.f("uq_participants_primary_address")),
    )
    with op.batch_alter_table("participants", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_participants_opened_at"), ["opened_at"], unique=False)

    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("shop_id", sa.String(length=64), nullable=False),
        sa.Column("escrow_id", sa.String(length=32), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["escrow_id"], ["escrows.id"], name=op.f("fk_events_escrow_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        comment="The outbox: what shops are told, written with the change itself.",
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index("ix_events_shop_id", ["shop_id", "id"], unique=False)

    op.create_table(
        "payouts",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("escrow_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("anchor_public_key", sa.String(length=64), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("decided_by", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.String(length=2000), nullable=True),
        sa.Column("fee_piconero", sa.BigInteger(), nullable=True),
        sa.Column(
            "shared_fee_piconero", sa.BigInteger(), nullable=True, comment="the fee that was divided among the shares"
        ),
        sa.Column("txid", sa.String(length=64), nullable=True),
        sa.Column(
            "raw_transaction_sealed",
            sa.LargeBinary(),
            nullable=True,
            comment="as broadcast; rebroadcast needs no wallet",
        ),
        sa.Column("mined_height", sa.BigInteger(), nullable=True),
        sa.Column("trouble", sa.String(length=1000), nullable=True),
        sa.Column("decided_at", sa.Float(), nullable=False),
        sa.Column("broadcast_at", sa.Float(), nullable=True),
        sa.Column("settled_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["escrow_id"], ["escrows.id"], name=op.f("fk_payouts_escrow_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payouts")),
        sa.UniqueConstraint("anchor_public_key", name=op.f("uq_payouts_anchor_public_key")),
        sa.UniqueConstraint("escrow_id", "number", name=op.f("uq_payouts_escrow_id")),
    )
    with op.batch_alter_table("payouts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_payouts_escrow_id"), ["escrow_id"], unique=False)

    op.create_table(
        "steps",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("escrow_id", sa.String(length=32), nullable=True),
        sa.Column("subject_id", sa.String(length=32), nullable=False, comment="the trio or payout the step belongs to"),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=True),
        sa.Column("slot", sa.String(length=128), nullable=True),
        sa.Column("intended_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column(
            "result",
            sa.String(length=1000),
            nullable=True,
            comment="ok, or what went wrong; none: it is not known whether it happened",
        ),
        sa.ForeignKeyConstraint(["escrow_id"], ["escrows.id"], name=op.f("fk_steps_escrow_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_steps")),
        comment="The journal: a row before a step runs, its result after.",
    )
    with op.batch_alter_table("steps", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_steps_escrow_id"), ["escrow_id"], unique=False)

    op.create_table(
        "outputs",
        sa.Column("escrow_id", sa.String(length=32), nullable=False),
        sa.Column("public_key", sa.String(length=64), nullable=False),
        sa.Column("txid", sa.String(length=64), nullable=False),
        sa.Column("amount_piconero", sa.BigInteger(), nullable=False),
        sa.Column("height", sa.BigInteger(), nullable=False),
        sa.Column("unlock_time", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("key_image", sa.String(length=64), nullable=True),
        sa.Column("payout_id", sa.String(length=32), nullable=True, comment="the one decision it belongs to"),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["escrow_id"], ["escrows.id"], name=op.f("fk_outputs_escrow_id")),
        sa.ForeignKeyConstraint(["payout_id"], ["payouts.id"], name=op.f("fk_outputs_payout_id")),
        sa.PrimaryKeyConstraint("escrow_id", "public_key", name=op.f("pk_outputs")),
        sa.UniqueConstraint("key_image", name=op.f("uq_outputs_key_image")),
    )
    with op.batch_alter_table("outputs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_outputs_payout_id"), ["payout_id"], unique=False)

    op.create_table(
        "proposals",
        sa.Column("payout_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("fee_piconero", sa.BigInteger(), nullable=False),
        sa.Column("txset_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("signed_sealed", sa.LargeBinary(), nullable=True, comment="every signed blob is kept"),
        sa.Column("txid", sa.String(length=64), nullable=True),
        sa.Column("proposed_at", sa.Float(), nullable=False),
        sa.Column("signed_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["payout_id"], ["payouts.id"], name=op.f("fk_proposals_payout_id")),
        sa.PrimaryKeyConstraint("payout_id", "number", name=op.f("pk_proposals")),
    )
    with op.batch_alter_table("proposals", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_proposals_txid"), ["txid"], unique=False)
