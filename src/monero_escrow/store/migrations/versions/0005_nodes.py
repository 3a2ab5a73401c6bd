"""nodes that share a database, and what each of them holds"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_IS_WORK = sa.text("state IN ('setting_up', 'paying_out')")
_IS_HELD = sa.text("node_id IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "nodes",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.Column("lease_until", sa.Float(), nullable=False),
        sa.Column("draining_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nodes")),
        sa.UniqueConstraint("name", name=op.f("uq_nodes_name")),
        comment="The services that share this database.",
    )
    op.create_table(
        "node_slots",
        sa.Column("place", sa.String(length=256), nullable=False),
        sa.Column("node_id", sa.String(length=64), nullable=False),
        sa.Column("url", sa.String(length=256), nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name=op.f("fk_node_slots_node_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_node_slots")),
        comment="The wallet-rpc processes of each node: none serves two.",
    )
    op.create_index("ix_node_slots_node_id", "node_slots", ["node_id"], unique=False)
    duties = op.create_table(
        "duties",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("node_id", sa.String(length=64), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_duties")),
        comment="What one node at a time does for all, such as the scan of the chain.",
    )
    op.bulk_insert(duties, [{"name": "scan", "fence": 0}])
    op.add_column("escrows", sa.Column("home", sa.String(length=64), nullable=True))
    op.add_column("trios", sa.Column("node_id", sa.String(length=64), nullable=True))
    op.add_column("trios", sa.Column("home", sa.String(length=64), nullable=True))
    op.create_index("ix_escrows_work_due_at", "escrows", ["due_at"], postgresql_where=_IS_WORK, sqlite_where=_IS_WORK)
    op.create_index("ix_escrows_node_id", "escrows", ["node_id"], postgresql_where=_IS_HELD, sqlite_where=_IS_HELD)
    op.create_index("ix_escrows_created_at", "escrows", ["created_at", "id"])
    op.create_index("ix_escrows_shop_created_at", "escrows", ["shop_id", "created_at", "id"])
    op.create_index("ix_escrows_counted", "escrows", ["state"])
    if op.get_bind().dialect.name == "postgresql":  # SQLite takes texts of any length already
        for table, column in _ANY_LENGTH:
            op.alter_column(table, column, type_=sa.Text())


_ANY_LENGTH = (
    ("escrows", "trouble"),
    ("trios", "trouble"),
    ("payouts", "trouble"),
    ("payouts", "reason"),
    ("payouts", "decided_by"),
    ("steps", "result"),
    ("audit", "actor"),
    ("facts", "value"),
)
