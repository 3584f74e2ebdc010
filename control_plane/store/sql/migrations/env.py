"""Alembic's entry: runs migrations over the connection that the store opened."""

from __future__ import annotations

from alembic import context

from control_plane.store.sql.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
