"""Up to when each replica knows what others wrote: rotations need not wait for one that is up to date."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("replicas", sa.Column("knows_at", sa.Double(), nullable=False, server_default="0"))
