"""Which key made a request: a column of its own, to search by. NULL in records from before, whose text says it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audit_records", sa.Column("key_id", sa.String(64), nullable=True))
    op.create_index("ix_audit_records_key_id_time", "audit_records", ["key_id", "time"])
