"""Run by Alembic; the connection comes from `store/migrate.py`, already in its transaction."""

from __future__ import annotations

from alembic import context

from monero_escrow.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
