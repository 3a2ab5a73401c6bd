"""trios that wait for an order, and wallet files that are removed"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("trios", sa.Column("claimed_at", sa.Float(), nullable=True))
    op.add_column("trios", sa.Column("files_removed_at", sa.Float(), nullable=True))
