"""Pods of instances, origin of policies"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, length in (("pod_name", 253), ("pod_uid", 64)):
        op.add_column(
            "instances", sa.Column(name, sa.String(length=length), nullable=False, server_default="")
        )
    op.create_index(op.f("ix_instances_pod_uid"), "instances", ["pod_uid"], unique=False)
    op.add_column("policies", sa.Column("origin", sa.String(length=16), nullable=False, server_default="api"))
