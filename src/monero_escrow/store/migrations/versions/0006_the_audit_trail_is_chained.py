"""the audit trail is chained

Rows that are there already have no chain yet: their seals need a key, which no migration has. The service gives them
one at its next start (`store/audit_adopt.py`), up to the row that is noted here.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    on_a_server = op.get_bind().dialect.name == "postgresql"
    for column in (
        sa.Column("chain", sa.String(length=80), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("source", sa.String(length=64), nullable=True),
        sa.Column("result", sa.Text() if on_a_server else sa.String(length=1000), nullable=True),
        sa.Column("chained_at", sa.Float(), nullable=True),
        sa.Column("hash", sa.LargeBinary(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=True),
    ):
        op.add_column("audit", column)
    op.create_index("ux_audit_chain", "audit", ["chain", "seq"], unique=True)
    op.create_table(
        "audit_heads",
        sa.Column("chain", sa.String(length=80), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.Column("checkpointed_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chain", name=op.f("pk_audit_heads")),
        comment="Where each chain of the audit trail ends.",
    )
    op.create_table(
        "audit_checkpoints",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("heads", sa.JSON(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_checkpoints")),
        comment="Signed: where the chains stood. Each is bound to the one before.",
    )
    op.execute(
        "INSERT INTO facts (name, value) "
        "SELECT 'audit_unchained_up_to', CAST(max(id) AS VARCHAR(32)) FROM audit HAVING max(id) IS NOT NULL"
    )
