"""who is signed in to the operator's pages, what the parties of a dispute say, and what the overview counts"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_FAILS = sa.text("failures > 0")
_HELD = sa.text("state = 'held'")


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name=op.f("fk_sessions_key_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sessions")),
        comment="Who is signed in to the operator's pages, and with which key.",
    )
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"], unique=False)
    op.create_table(
        "evidence",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("escrow_id", sa.String(length=32), nullable=False),
        sa.Column("party", sa.String(length=16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("sent_by", sa.String(length=128).with_variant(sa.Text(), "postgresql"), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.CheckConstraint("party in ('buyer', 'vendor')", name=op.f("ck_evidence_party")),
        sa.ForeignKeyConstraint(["escrow_id"], ["escrows.id"], name=op.f("fk_evidence_escrow_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evidence")),
        comment="What the parties of a dispute say, for the arbiter.",
    )
    op.create_index("ix_evidence_escrow_id", "evidence", ["escrow_id"], unique=False)
    op.create_index("ix_trios_finished_at", "trios", ["finished_at"], unique=False)
    op.create_index("ix_escrows_failing", "escrows", ["id"], postgresql_where=_FAILS, sqlite_where=_FAILS)
    op.create_index("ix_payouts_held", "payouts", ["decided_at"], postgresql_where=_HELD, sqlite_where=_HELD)
