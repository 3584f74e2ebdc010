"""The typed client of the REST API: what the command line, the demo and scripts use.

Answers are bartizan.api types. Faults are bartizan.errors: InvalidInput (422, every problem), NotFound, Conflict,
Forbidden (401, 403), DependencyUnavailable (no connection, 429, 503, 504), DependencyError (anything else).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import msgspec

from bartizan import api
from bartizan.errors import DependencyUnavailable, NotFound
from bartizan.evidence_calls import EvidenceCalls
from bartizan.mesh_calls import LONG_SECONDS, MeshCalls
from bartizan.transport import SECONDS, decode, fault, word


class Client(MeshCalls, EvidenceCalls):
    """Use as `async with Client(url, token, ca_file=…) as client`. One connection pool per client.

    ca_file: PEM roots that the control plane's certificate must chain to; without it the system's roots. TLS is
    always verified; plain http is refused.
    """

    # Policies

    async def apply(
        self, document: str | bytes, *, rollout: bool = True, reason: str = "", if_match: int | None = None
    ) -> api.Applied:
        """Either kind: a new revision, published unless rollout=False. Raises PolicyInvalid with every problem, Conflict."""
        headers = {} if if_match is None else {"If-Match": f'"{if_match}"'}
        query = {"rollout": "true" if rollout else "false", "reason": reason}
        return await self.send(
            "POST",
            "/v1/policies",
            api.Applied,
            document=document,
            query=query,
            headers=headers,
            seconds=LONG_SECONDS,
        )

    async def validate(self, document: str | bytes) -> api.Preview:
        """What applying it would change. Raises PolicyInvalid with every problem, Conflict."""
        return await self.send(
            "POST", "/v1/policies:validate", api.Preview, document=document, seconds=LONG_SECONDS
        )

    async def policies(self, namespace: str = "") -> tuple[api.PolicySummary, ...]:
        query = {"namespace": namespace} if namespace else {}
        return (await self.send("GET", "/v1/policies", api.PolicyList, query=query)).policies

    async def policy(self, name: str) -> api.PolicyDetail:
        return await self.send("GET", _policy(name), api.PolicyDetail)

    async def document(self, name: str) -> dict[str, Any]:
        """The newest revision's document."""
        return (await self.policy(name)).document

    async def delete_policy(self, name: str) -> None:
        await self.send("DELETE", _policy(name), None)

    async def revisions(self, name: str) -> tuple[api.Revision, ...]:
        """All, newest first."""
        return await self.send_all(
            f"{_policy(name)}/revisions", api.RevisionList, lambda page: page.revisions
        )

    async def revision(self, name: str, number: int) -> api.RevisionDetail:
        return await self.send("GET", f"{_policy(name)}/revisions/{number}", api.RevisionDetail)

    async def publications(self, name: str) -> tuple[api.Publication, ...]:
        """All, newest first."""
        return await self.send_all(
            f"{_policy(name)}/publications", api.PublicationList, lambda page: page.publications
        )

    async def publication(self, name: str, version: int) -> api.Publication:
        """An older control plane knows no path of a single one: there it is looked for in the list. Raises NotFound."""
        try:
            return await self.send("GET", f"{_policy(name)}/publications/{version}", api.Publication)
        except NotFound:
            found = [each for each in await self.publications(name) if each.version == version]
            if not found:
                raise
            return found[0]

    async def diff(self, name: str, before: int, after: int | None = None) -> api.Difference:
        query = {"from": str(before), **({} if after is None else {"to": str(after)})}
        return await self.send("GET", f"{_policy(name)}/diff", api.Difference, query=query)

    async def rollout(self, name: str, revision: int) -> api.Applied:
        return await self.send(
            "POST", f"{_policy(name)}/rollouts", api.Applied, body=api.RollOut(revision=revision)
        )

    async def undo(self, name: str) -> api.Applied:
        """Publish again what was published before. Raises Conflict when there is nothing earlier."""
        return await self.send("POST", f"{_policy(name)}/undo", api.Applied)

    async def endpoints(self) -> tuple[api.EndpointInfo, ...]:
        """The guarded models of all published policies."""
        return (await self.send("GET", "/v1/endpoints", api.EndpointList)).endpoints

    async def effective(self, name: str, revision: int | None = None) -> api.EffectivePolicy:
        """What holds with the MeshPolicies of now. Raises PolicyInvalid when that is no valid policy."""
        query = {} if revision is None else {"revision": str(revision)}
        return await self.send("GET", f"{_policy(name)}/effective", api.EffectivePolicy, query=query)

    async def status(self, name: str) -> api.PolicyStatus:
        [first, *more] = await self.send_pages(f"{_policy(name)}/status", api.PolicyStatus)
        return _whole(first, more)

    async def wait_enforced(
        self, name: str, version: int = 0, *, timeout_seconds: float = 60.0
    ) -> api.PolicyStatus:
        """Until every instance provably enforces that version (or a newer one), or the time is over: look at `.enforced`."""
        path = f"{_policy(name)}/status"
        return await self._rest(path, await self.wait(path, api.PolicyStatus, version, timeout_seconds))

    async def wait_settled(
        self, name: str, version: int = 0, *, timeout_seconds: float = 60.0
    ) -> api.PolicyStatus:
        """Until no instance is pending, or the time is over."""
        path = f"{_policy(name)}/status"
        status = await self.wait(path, api.PolicyStatus, version, timeout_seconds, settled=True)
        return await self._rest(path, status)

    async def _rest(self, path: str, first: api.PolicyStatus) -> api.PolicyStatus:
        more = await self.send_pages(path, api.PolicyStatus, first.cursor) if first.cursor else []
        return _whole(first, more)

    # Keys

    async def create_key_set(self, name: str) -> api.KeySetInfo:
        """Idempotent."""
        return await self.send("PUT", f"/v1/key-sets/{word(name)}", api.KeySetInfo)

    async def key_sets(self) -> tuple[api.KeySetInfo, ...]:
        return (await self.send("GET", "/v1/key-sets", api.KeySetList)).key_sets

    async def issue_key(
        self,
        key_set: str,
        *,
        tenant: str,
        plan: str = "",
        region: str = "",
        models: tuple[str, ...] = (),
        ttl_seconds: int | None = None,
    ) -> api.IssuedKey:
        ask = api.IssueKey(tenant=tenant, plan=plan, region=region, models=models, ttl_seconds=ttl_seconds)
        return await self.send("POST", f"/v1/key-sets/{word(key_set)}/keys", api.IssuedKey, body=ask)

    async def keys(self, key_set: str) -> api.KeyList:
        """All, the oldest first."""
        pages = await self.send_pages(f"/v1/key-sets/{word(key_set)}/keys", api.KeyList)
        keys = tuple(key for page in pages for key in page.keys)
        return msgspec.structs.replace(pages[-1], keys=keys)

    async def revoke_key(self, key_set: str, key_id: str) -> None:
        await self.send("DELETE", f"/v1/key-sets/{word(key_set)}/keys/{word(key_id)}", None)

    async def key_set(self, name: str) -> api.KeySetStatus:
        return await self.send("GET", f"/v1/key-sets/{word(name)}", api.KeySetStatus)

    async def wait_key_set(self, name: str, *, timeout_seconds: float = 60.0) -> api.KeySetStatus:
        """Until every sidecar that takes its keys uses the newest version, or the time is over: look at `.behind`."""
        until = time.monotonic() + timeout_seconds
        while True:
            status = await self.key_set(name)
            if not status.behind or time.monotonic() >= until:
                return status
            await asyncio.sleep(0.1)

    # Sidecars

    async def join_token(
        self,
        spiffe_id: str,
        labels: dict[str, str] | None = None,
        *,
        ttl_seconds: int = api.MAX_JOIN_SECONDS,
    ) -> str:
        """One word to hand to the sidecar; shown only now."""
        return (await self.issue_join_token(spiffe_id, labels or {}, ttl_seconds)).token

    async def issue_join_token(
        self, spiffe_id: str, labels: dict[str, str], ttl_seconds: int
    ) -> api.IssuedJoinToken:
        """The same with the id by which it can be revoked."""
        ask = api.NewJoinToken(spiffe_id=spiffe_id, labels=labels, ttl_seconds=ttl_seconds)
        return await self.send("POST", "/v1/join-tokens", api.IssuedJoinToken, body=ask)

    async def join_tokens(self) -> tuple[api.JoinTokenInfo, ...]:
        """Those that may still be used."""
        return (await self.send("GET", "/v1/join-tokens", api.JoinTokenList)).join_tokens

    async def revoke_join_token(self, token_id: str) -> None:
        await self.send("DELETE", f"/v1/join-tokens/{word(token_id)}", None)

    async def instances(self) -> tuple[api.InstanceInfo, ...]:
        """All, the oldest first."""
        return await self.send_all("/v1/instances", api.InstanceList, lambda page: page.instances)

    async def remove_instance(self, instance_id: str) -> None:
        await self.send("DELETE", f"/v1/instances/{word(instance_id)}", None)

    # Secrets

    async def put_secret(self, name: str, definition: dict[str, Any]) -> api.SecretInfo:
        return await self.send("PUT", f"/v1/secrets/{word(name)}", api.SecretInfo, body=definition)

    async def secrets(self) -> tuple[api.SecretInfo, ...]:
        return (await self.send("GET", "/v1/secrets", api.SecretList)).secrets

    async def secret(self, name: str) -> api.SecretInfo:
        return await self.send("GET", f"/v1/secrets/{word(name)}", api.SecretInfo)

    async def rotate(self, name: str) -> api.RotationInfo:
        return await self.send("POST", f"/v1/secrets/{word(name)}/rotations", api.RotationInfo)

    async def roll_back(self, name: str) -> api.RotationInfo:
        """Go back to the old key. Raises Conflict when it is too late or this is the first key."""
        return await self.send("POST", f"/v1/secrets/{word(name)}/rotation/rollback", api.RotationInfo)

    async def rotation(self, name: str) -> api.RotationInfo:
        return await self.send("GET", f"/v1/secrets/{word(name)}/rotation", api.RotationInfo)

    async def wait_rotated(self, name: str, *, timeout_seconds: float = 60.0) -> api.RotationInfo:
        """Until no rotation is under way. Raises DependencyUnavailable, with what it waits for, when time is over."""
        until = time.monotonic() + timeout_seconds
        while True:
            state = await self.rotation(name)
            if state.finished:
                return state
            if time.monotonic() >= until:
                waiting = f", waiting for {', '.join(state.waiting_for)}" if state.waiting_for else ""
                why = f": {state.error}" if state.error else ""
                raise DependencyUnavailable(f"the rotation of {name} is in phase {state.phase}{waiting}{why}")
            await asyncio.sleep(0.1)

    # Health

    async def health(self) -> api.Health:
        """Readiness with its reasons; an answer of 503 is one too."""
        status, raw, _ = await self.exchange("GET", "/readyz", b"", {}, {}, SECONDS)
        if status not in {200, 503}:
            raise fault(status, raw, None)
        return decode(raw, api.Health)

    async def trust(self) -> bytes:
        """The canonical bytes of the TrustDocument."""
        status, raw, retry = await self.exchange("GET", "/v1/trust", b"", {}, {}, SECONDS)
        if status != 200:
            raise fault(status, raw, retry)
        return raw


def _whole(first: api.PolicyStatus, more: Iterable[api.PolicyStatus]) -> api.PolicyStatus:
    """Counts are those of the first page."""
    rows = first.instances + tuple(row for page in more for row in page.instances)
    return msgspec.structs.replace(first, instances=rows, cursor="")


def _policy(name: str) -> str:
    namespace, slash, short = name.partition("/")
    if not slash:
        namespace, short = "default", name
    return f"/v1/policies/{word(namespace)}/{word(short)}"
