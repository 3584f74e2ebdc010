"""Every route of the REST API: one line per file of routes."""

from __future__ import annotations

from control_plane.api.openapi import Operation
from control_plane.api.ports import Parts
from control_plane.api.routes import (
    audit,
    documents,
    endpoints,
    fleet,
    health,
    keys,
    meshes,
    policies,
    secrets,
    tokens,
)


def operations(parts: Parts) -> list[Operation]:
    """All operations, in the order in which the document shows them."""
    return [
        *health.operations(parts),
        *documents.operations(parts),
        *policies.operations(parts),
        *meshes.operations(parts),
        *endpoints.operations(parts),
        *keys.operations(parts),
        *fleet.operations(parts),
        *secrets.operations(parts),
        *audit.operations(parts),
        *tokens.operations(parts),
    ]
