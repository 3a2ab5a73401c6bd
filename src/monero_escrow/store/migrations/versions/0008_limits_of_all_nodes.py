"""what each node let through lately, so that the limits hold for all nodes together"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rate_shares",
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.Column("run", sa.String(length=32), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("taken", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("node", name=op.f("pk_rate_shares")),
        comment="What each node let through lately, so that the limits hold for all nodes together.",
    )
