"""what is final, what may be taken back, and how often a payout was repaired"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("escrows", sa.Column("funded_piconero", sa.BigInteger(), nullable=True))
    op.add_column("outputs", sa.Column("final_at", sa.Float(), nullable=True))
    op.add_column("payouts", sa.Column("further", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("payouts", sa.Column("failures", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("payouts", sa.Column("final_at", sa.Float(), nullable=True))
    op.add_column("proposals", sa.Column("shared_fee_piconero", sa.BigInteger(), nullable=True))
