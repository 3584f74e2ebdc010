"""Is it alive, is it ready, and what must be known of it: the public routes."""

from __future__ import annotations

from bartizan.api import Health
from control_plane.api.openapi import Call, Operation, Reply
from control_plane.api.ports import Parts


def operations(parts: Parts) -> list[Operation]:
    async def alive(_call: Call) -> Health:
        return Health(status="ok", version=parts.version)

    async def ready(_call: Call) -> Reply:
        reasons = tuple(parts.not_ready())
        state = Health(status="not_ready" if reasons else "ok", reasons=reasons, version=parts.version)
        return Reply(value=state, status=503 if reasons else 200)

    async def trust(_call: Call) -> Reply:
        return Reply(raw=await parts.trust())

    return [
        Operation(
            method="GET",
            path="/healthz",
            summary="The process lives",
            handler=alive,
            permission=None,
            answer=Health,
            tag="health",
        ),
        Operation(
            method="GET",
            path="/readyz",
            summary="Ready to serve, or why not (then 503 with the same body)",
            handler=ready,
            permission=None,
            answer=Health,
            tag="health",
        ),
        Operation(
            method="GET",
            path="/v1/trust",
            summary="Roots and verification keys, canonical bytes: compare the SHA-256 with a join token's",
            handler=trust,
            permission=None,
            answer=bytes,
            tag="health",
        ),
    ]
