"""Replicas that share the store: who is alive, whom a sidecar reports to, one bootstrap token for all"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "replicas",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_replicas")),
    )
    op.create_table(
        "bootstrap_tokens",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("made_at", sa.Double(), nullable=False),
        sa.Column("spent_at", sa.Double()),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_bootstrap_tokens")),
    )
    for column in (
        sa.Column("replica", sa.String(length=128), nullable=False, server_default=""),
        sa.Column("live", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("changed_at", sa.Double(), nullable=False, server_default="0"),
    ):
        op.add_column("instance_reports", column)
    op.create_index(op.f("ix_instance_reports_changed_at"), "instance_reports", ["changed_at"], unique=False)
