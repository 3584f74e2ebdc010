"""MeshPolicies"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mesh_policies",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("deleted_at", sa.Double(), nullable=True),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_mesh_policies")),
    )
    op.create_table(
        "mesh_revisions",
        sa.Column("policy", sa.String(length=63), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("author", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["policy"], ["mesh_policies.name"], name=op.f("fk_mesh_revisions_policy_mesh_policies")
        ),
        sa.PrimaryKeyConstraint("policy", "number", name=op.f("pk_mesh_revisions")),
    )
    op.create_table(
        "mesh_publications",
        sa.Column("policy", sa.String(length=63), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("published_at", sa.Double(), nullable=False),
        sa.Column("published_by", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(
            ["policy", "revision"],
            ["mesh_revisions.policy", "mesh_revisions.number"],
            name=op.f("fk_mesh_publications_policy_mesh_revisions"),
        ),
        sa.PrimaryKeyConstraint("policy", "version", name=op.f("pk_mesh_publications")),
    )
