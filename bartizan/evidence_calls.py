"""Calls of the typed client (client.py) that are about evidence, and about the tokens of those who may read it."""

from __future__ import annotations

from typing import Any

from bartizan import api
from bartizan.transport import Transport, word


class EvidenceCalls(Transport):
    """What was decided, what admins did, and who they are."""

    async def audit(self, **conditions: str | float | None) -> tuple[dict[str, Any], ...]:
        """Newest first. Conditions: since, until, tenant, policy, cause, action, trace_id, decision_id, key_id, limit,
        cursor.
        """
        return (await self.audit_page(**conditions)).records

    async def audit_page(self, **conditions: str | float | None) -> api.AuditList:
        query = {name: str(value) for name, value in conditions.items() if value not in {"", None}}
        return await self.send("GET", "/v1/audit", api.AuditList, query=query)

    async def events(self, limit: int = 100) -> tuple[api.AdminEventInfo, ...]:
        """What admins did, newest first."""
        return (await self.events_page(limit=limit)).events

    async def events_page(self, **conditions: str | float | None) -> api.AdminEventList:
        """Conditions: since, until, act, target, token (the id of the one that acted), limit, cursor."""
        query = {name: str(value) for name, value in conditions.items() if value not in {"", None}}
        return await self.send("GET", "/v1/events", api.AdminEventList, query=query)

    async def create_token(
        self,
        *,
        role: api.RoleName,
        name: str,
        ttl_seconds: int = 12 * 3600,
        tenants: tuple[str, ...] = (),
    ) -> api.IssuedToken:
        ask = api.NewToken(role=role, name=name, ttl_seconds=ttl_seconds, tenants=tenants)
        return await self.send("POST", "/v1/tokens", api.IssuedToken, body=ask)

    async def tokens(self) -> tuple[api.TokenInfo, ...]:
        return (await self.send("GET", "/v1/tokens", api.TokenList)).tokens

    async def revoke_token(self, token_id: str) -> None:
        await self.send("DELETE", f"/v1/tokens/{word(token_id)}", None)
