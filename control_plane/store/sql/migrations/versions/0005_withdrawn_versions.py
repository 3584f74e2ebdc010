"""A policy that was deleted and came back has nothing in effect until it is published again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("policies", "mesh_policies"):
        op.add_column(name, sa.Column("withdrawn", sa.BigInteger(), nullable=False, server_default="0"))
        op.execute(sa.text(f"UPDATE {name} SET withdrawn = version WHERE deleted_at IS NOT NULL"))  # noqa: S608 - our own names
