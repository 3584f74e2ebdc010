"""The first schema"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "admin_events",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("act", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=256), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("peer", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_admin_events")),
    )
    op.create_index(op.f("ix_admin_events_time"), "admin_events", ["time"], unique=False)
    op.create_table(
        "admin_tokens",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("tenants", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=True),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_admin_tokens")),
        sa.UniqueConstraint("hash", name=op.f("uq_admin_tokens_hash")),
    )
    op.create_table(
        "audit_records",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("tenant", sa.String(length=128), nullable=False),
        sa.Column("policy", sa.String(length=160), nullable=False),
        sa.Column("cause", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("phase", sa.String(length=16), nullable=False),
        sa.Column("trace_id", sa.String(length=32), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("instance_id", sa.String(length=64), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("json", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_records")),
    )
    op.create_index("ix_audit_records_policy_time", "audit_records", ["policy", "time"], unique=False)
    op.create_index("ix_audit_records_tenant_time", "audit_records", ["tenant", "time"], unique=False)
    op.create_index(op.f("ix_audit_records_time"), "audit_records", ["time"], unique=False)
    op.create_index(op.f("ix_audit_records_trace_id"), "audit_records", ["trace_id"], unique=False)
    op.create_table(
        "instances",
        sa.Column("instance_id", sa.String(length=64), nullable=False),
        sa.Column("spiffe_id", sa.String(length=512), nullable=False),
        sa.Column("namespace", sa.String(length=63), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("removed_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_instances")),
    )
    op.create_index(op.f("ix_instances_namespace"), "instances", ["namespace"], unique=False)
    op.create_index(op.f("ix_instances_spiffe_id"), "instances", ["spiffe_id"], unique=False)
    op.create_table(
        "join_tokens",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("spiffe_id", sa.String(length=512), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_join_tokens")),
    )
    op.create_index(op.f("ix_join_tokens_expires_at"), "join_tokens", ["expires_at"], unique=False)
    op.create_table(
        "key_sets",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_key_sets")),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=128), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "policies",
        sa.Column("name", sa.String(length=160), nullable=False),
        sa.Column("namespace", sa.String(length=63), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("deleted_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_policies")),
    )
    op.create_index(op.f("ix_policies_namespace"), "policies", ["namespace"], unique=False)
    op.create_table(
        "rotations",
        sa.Column("secret", sa.String(length=63), nullable=False),
        sa.Column("row_version", sa.BigInteger(), nullable=False),
        sa.Column("intent", sa.String(length=64), nullable=False),
        sa.Column("phase", sa.String(length=32), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("secret", name=op.f("pk_rotations")),
    )
    op.create_index(op.f("ix_rotations_phase"), "rotations", ["phase"], unique=False)
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secrets")),
    )
    op.create_table(
        "api_keys",
        sa.Column("key_set", sa.String(length=63), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=128), nullable=False),
        sa.Column("plan", sa.String(length=64), nullable=False),
        sa.Column("region", sa.String(length=64), nullable=False),
        sa.Column("models", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["key_set"], ["key_sets.name"], name=op.f("fk_api_keys_key_set_key_sets")),
        sa.PrimaryKeyConstraint("key_set", "id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("hash", name=op.f("uq_api_keys_hash")),
    )
    op.create_table(
        "instance_reports",
        sa.Column("instance_id", sa.String(length=64), nullable=False),
        sa.Column("boot_id", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("report", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instances.instance_id"], name=op.f("fk_instance_reports_instance_id_instances")
        ),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_instance_reports")),
    )
    op.create_table(
        "key_set_versions",
        sa.Column("key_set", sa.String(length=63), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.String(length=64), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.Column("changed_by", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(
            ["key_set"], ["key_sets.name"], name=op.f("fk_key_set_versions_key_set_key_sets")
        ),
        sa.PrimaryKeyConstraint("key_set", "version", name=op.f("pk_key_set_versions")),
    )
    op.create_table(
        "revisions",
        sa.Column("policy", sa.String(length=160), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("author", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["policy"], ["policies.name"], name=op.f("fk_revisions_policy_policies")),
        sa.PrimaryKeyConstraint("policy", "number", name=op.f("pk_revisions")),
    )
    op.create_table(
        "publications",
        sa.Column("policy", sa.String(length=160), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("bundle", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("plan_hash", sa.String(length=64), nullable=False),
        sa.Column("published_at", sa.Double(), nullable=False),
        sa.Column("published_by", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(
            ["policy", "revision"],
            ["revisions.policy", "revisions.number"],
            name=op.f("fk_publications_policy_revisions"),
        ),
        sa.PrimaryKeyConstraint("policy", "version", name=op.f("pk_publications")),
    )


def downgrade() -> None:
    op.drop_table("publications")
    op.drop_table("revisions")
    op.drop_table("key_set_versions")
    op.drop_table("instance_reports")
    op.drop_table("api_keys")
    op.drop_table("secrets")
    op.drop_index(op.f("ix_rotations_phase"), table_name="rotations")
    op.drop_table("rotations")
    op.drop_index(op.f("ix_policies_namespace"), table_name="policies")
    op.drop_table("policies")
    op.drop_table("leases")
    op.drop_table("key_sets")
    op.drop_index(op.f("ix_join_tokens_expires_at"), table_name="join_tokens")
    op.drop_table("join_tokens")
    op.drop_index(op.f("ix_instances_spiffe_id"), table_name="instances")
    op.drop_index(op.f("ix_instances_namespace"), table_name="instances")
    op.drop_table("instances")
    op.drop_index(op.f("ix_audit_records_trace_id"), table_name="audit_records")
    op.drop_index(op.f("ix_audit_records_time"), table_name="audit_records")
    op.drop_index("ix_audit_records_tenant_time", table_name="audit_records")
    op.drop_index("ix_audit_records_policy_time", table_name="audit_records")
    op.drop_table("audit_records")
    op.drop_table("admin_tokens")
    op.drop_index(op.f("ix_admin_events_time"), table_name="admin_events")
    op.drop_table("admin_events")
