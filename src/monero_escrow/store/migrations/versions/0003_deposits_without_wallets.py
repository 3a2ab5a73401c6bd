"""how far the chain has been scanned, and at which height an escrow is looked at"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "scanned_blocks",
        sa.Column("height", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("height", name=op.f("pk_scanned_blocks")),
        comment="The last blocks in which the view keys were tried: where the scan goes on, and whether it stands.",
    )
    op.add_column("escrows", sa.Column("due_height", sa.BigInteger(), nullable=True))
    op.add_column("escrows", sa.Column("rescan_from", sa.BigInteger(), nullable=True))
    op.create_index("ix_escrows_due_height", "escrows", ["due_height"], unique=False)
    op.create_index("ix_escrows_rescan_from", "escrows", ["rescan_from"], unique=False)
