"""Every table of the control plane, as SQLAlchemy Core.

Portable on purpose: the same definitions serve SQLite and PostgreSQL. Times are seconds since the epoch (UTC) as
doubles, documents are canonical JSON text, what was signed is kept as the very bytes that were signed.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
)

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# A deleted policy keeps its row, its revisions and its versions: sidecars refuse versions that go back.
POLICIES = Table(
    "policies",
    METADATA,
    Column("name", String(160), primary_key=True),
    Column("namespace", String(63), nullable=False, index=True),
    Column("revision", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", String(128), nullable=False),
    Column("deleted_at", Double),
    Column("origin", String(16), nullable=False, server_default="api"),
    # Its versions up to this one ended when it was deleted.
    Column("withdrawn", BigInteger, nullable=False, server_default="0"),
)

REVISIONS = Table(
    "revisions",
    METADATA,
    Column("policy", String(160), ForeignKey("policies.name"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("document", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("author", String(128), nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", Double, nullable=False),
)

PUBLICATIONS = Table(
    "publications",
    METADATA,
    Column("policy", String(160), primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("bundle", LargeBinary, nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("plan_hash", String(64), nullable=False),
    Column("published_at", Double, nullable=False),
    Column("published_by", String(128), nullable=False),
    ForeignKeyConstraint(["policy", "revision"], ["revisions.policy", "revisions.number"]),
)

# MeshPolicies: numbered like policies, but nothing of them travels by itself.
MESH_POLICIES = Table(
    "mesh_policies",
    METADATA,
    Column("name", String(63), primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", String(128), nullable=False),
    Column("deleted_at", Double),
    Column("origin", String(16), nullable=False),
    Column("withdrawn", BigInteger, nullable=False, server_default="0"),
)

MESH_REVISIONS = Table(
    "mesh_revisions",
    METADATA,
    Column("policy", String(63), ForeignKey("mesh_policies.name"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("document", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("author", String(128), nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", Double, nullable=False),
)

MESH_PUBLICATIONS = Table(
    "mesh_publications",
    METADATA,
    Column("policy", String(63), primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("published_at", Double, nullable=False),
    Column("published_by", String(128), nullable=False),
    ForeignKeyConstraint(["policy", "revision"], ["mesh_revisions.policy", "mesh_revisions.number"]),
)

KEY_SETS = Table(
    "key_sets",
    METADATA,
    Column("name", String(63), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", String(128), nullable=False),
)

# Hashes only; a revoked key stays, so that an old copy of the set can't bring it back.
API_KEYS = Table(
    "api_keys",
    METADATA,
    Column("key_set", String(63), ForeignKey("key_sets.name"), primary_key=True),
    Column("id", String(32), primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("tenant", String(128), nullable=False),
    Column("plan", String(64), nullable=False),
    Column("region", String(64), nullable=False),
    Column("models", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", String(128), nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
)

# Why a set has the version it has: one row per change.
KEY_SET_VERSIONS = Table(
    "key_set_versions",
    METADATA,
    Column("key_set", String(63), ForeignKey("key_sets.name"), primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("cause", String(64), nullable=False),
    Column("changed_at", Double, nullable=False),
    Column("changed_by", String(128), nullable=False),
)

ADMIN_TOKENS = Table(
    "admin_tokens",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("name", String(128), nullable=False),
    Column("role", String(16), nullable=False),
    Column("tenants", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", String(128), nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("used_at", Double),
    Column("revoked_at", Double),
)

# One per replica that found no living admin token; the first use of any of them ends all.
BOOTSTRAP_TOKENS = Table(
    "bootstrap_tokens",
    METADATA,
    Column("hash", String(64), primary_key=True),
    Column("made_at", Double, nullable=False),
    Column("spent_at", Double),
)

JOIN_TOKENS = Table(
    "join_tokens",
    METADATA,
    Column("hash", String(64), primary_key=True),
    Column("spiffe_id", String(512), nullable=False),
    Column("labels", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", String(128), nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
    Column("used_at", Double),
)

INSTANCES = Table(
    "instances",
    METADATA,
    Column("instance_id", String(64), primary_key=True),
    Column("spiffe_id", String(512), nullable=False, index=True),
    Column("namespace", String(63), nullable=False, index=True),
    Column("labels", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("removed_at", Double),
    Column("pod_name", String(253), nullable=False, server_default=""),
    Column("pod_uid", String(64), nullable=False, server_default="", index=True),
)

# The newest report of each instance: rebuilt by the sidecars within seconds, kept so that a restart shows the last known.
INSTANCE_REPORTS = Table(
    "instance_reports",
    METADATA,
    Column("instance_id", String(64), ForeignKey("instances.instance_id"), primary_key=True),
    Column("boot_id", String(64), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("report", LargeBinary, nullable=False),
    Column("replica", String(128), nullable=False, server_default=""),
    Column("live", Boolean, nullable=False, server_default=false()),
    Column("changed_at", Double, nullable=False, server_default="0", index=True),
)

# Who shares this store, by the store's clock: until when each counts as alive, up to when it knows what others wrote.
REPLICAS = Table(
    "replicas",
    METADATA,
    Column("name", String(128), primary_key=True),
    Column("expires_at", Double, nullable=False),
    Column("knows_at", Double, nullable=False, server_default="0"),
)

# Definitions only: values live in Vault.
SECRETS = Table(
    "secrets",
    METADATA,
    Column("name", String(63), primary_key=True),
    Column("definition", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", String(128), nullable=False),
    Column("updated_at", Double, nullable=False),
)

# The rotation journal: one row per secret, every change compare-and-set on row_version.
ROTATIONS = Table(
    "rotations",
    METADATA,
    Column("secret", String(63), primary_key=True),
    Column("row_version", BigInteger, nullable=False),
    Column("intent", String(64), nullable=False),
    Column("phase", String(32), nullable=False, index=True),
    Column("state", Text, nullable=False),
    Column("updated_at", Double, nullable=False),
)

AUDIT_RECORDS = Table(
    "audit_records",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("time", Double, nullable=False, index=True),
    Column("type", String(16), nullable=False),
    Column("tenant", String(128), nullable=False),
    Column("policy", String(160), nullable=False),
    Column("cause", String(64), nullable=False),
    Column("action", String(16), nullable=False),
    Column("phase", String(16), nullable=False),
    Column("trace_id", String(32), nullable=False, index=True),
    Column("source", String(16), nullable=False),
    Column("instance_id", String(64), nullable=False),
    Column("received_at", Double, nullable=False),
    Column("json", Text, nullable=False),
    # NULL: of a record from before this column, whose text says it.
    Column("key_id", String(64), nullable=True),
    Index("ix_audit_records_key_id_time", "key_id", "time"),
    Index("ix_audit_records_tenant_time", "tenant", "time"),
    Index("ix_audit_records_policy_time", "policy", "time"),
)

# Who did what to the control plane. Written in the same transaction as the act: no record, no act.
ADMIN_EVENTS = Table(
    "admin_events",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("time", Double, nullable=False, index=True),
    Column("actor", String(128), nullable=False),
    Column("act", String(64), nullable=False),
    Column("target", String(256), nullable=False),
    Column("detail", Text, nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("peer", String(64), nullable=False),
)

# Who may act alone (rotation, housekeeping): the fence rises with every new holder.
LEASES = Table(
    "leases",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("holder", String(128), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("active", Boolean, nullable=False),
)
