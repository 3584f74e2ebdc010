"""What agent and guard worker say to each other over the inherited socket pair (framing in channel.py).

One tagged union each way. The agent sends keys, plans and probes' MAC key; the worker answers what it loaded.
"""

from __future__ import annotations

from typing import Any

import msgspec

from bartizan.policy.bundle import GuardPlan
from bartizan.policy.keyset import KeySet


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of both unions."""


class Configure(Message, frozen=True, tag="configure"):
    """First message. worker/workers: rate limits are shared out. probe_key: 32 bytes for probe MACs."""

    instance_id: str
    worker: int
    workers: int
    probe_key: bytes
    traces: bool = False
    """Whether anybody takes spans: without, a worker makes none."""


class Load(Message, frozen=True, tag="load"):
    """Build this plan beside the current one; answered by Loaded."""

    plan: GuardPlan


class Drop(Message, frozen=True, tag="drop"):
    """Forget a plan that no route names any more."""

    plan_id: str


class SetKeys(Message, frozen=True, tag="set_keys"):
    """The newest version of an API-key set, verified by the agent; answered by KeysSet."""

    key_set: KeySet


class SetJwks(Message, frozen=True, tag="set_jwks"):
    """An issuer's keys (a JWK Set document), fetched by the agent."""

    issuer: str
    jwks: dict[str, Any]


class SetPseudonymKeys(Message, frozen=True, tag="set_pseudonym_keys"):
    """All keys of pseudonyms, by the name that policies give them."""

    keys: dict[str, bytes]

    def __repr__(self) -> str:
        return f"SetPseudonymKeys({sorted(self.keys)})"


class Listen(Message, frozen=True, tag="listen"):
    """Everything is told: open the guard socket; answered by Listening. Until then Envoy asks another worker."""


class Ping(Message, frozen=True, tag="ping"):
    sequence: int


AgentMessage = Configure | Load | Drop | SetKeys | SetJwks | SetPseudonymKeys | Listen | Ping


class Loaded(Message, frozen=True, tag="loaded"):
    """`hash` is the SHA-256 (hex) of the plan's canonical bytes; `error` says why it could not be built."""

    plan_id: str
    hash: str = ""
    error: str = ""


class KeysSet(Message, frozen=True, tag="keys_set"):
    name: str
    version: int


class Listening(Message, frozen=True, tag="listening"):
    """The guard socket is open."""


class Pong(Message, frozen=True, tag="pong"):
    sequence: int
    metrics: dict[str, float] = {}


class AuditBatch(Message, frozen=True, tag="audit"):
    """Canonical JSON of sidecar.audit.record.Record or Gap, on the second pair only."""

    records: tuple[bytes, ...]


class HandedIn(Message, frozen=True, tag="handed_in"):
    """All audit records are out and none follow; on the second pair only. Who ends without it may have had some."""


class SpanBatch(Message, frozen=True, tag="spans"):
    """An OTLP ExportTraceServiceRequest, on the second pair only."""

    request: bytes


WorkerMessage = Loaded | KeysSet | Listening | Pong | AuditBatch | HandedIn | SpanBatch
