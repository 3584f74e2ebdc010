"""What the demo's steps share: the running stack, the model, keys of three callers, and how to ask the endpoint."""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bartizan.client import Client
from bartizan.local.model import ExampleModel
from bartizan.local.openbao import KV
from bartizan.local.otlp import Receiver
from bartizan.local.stack import Stack

POLICY_FILE = Path(__file__).resolve().parents[3] / "examples" / "policies" / "sentiment.yaml"
POLICY = "default/sentiment"
SECRET = "sentiment-upstream"
SECRET_PATH = "models/sentiment/upstream"
KEY_SET = "sentiment"
TRIES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response as a client sees it."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def decision(self) -> str:
        return self.headers.get("x-bartizan-decision", "")


@dataclass(slots=True)
class Scene:
    """One run of the demo."""

    stack: Stack
    model: ExampleModel
    receiver: Receiver
    """Sees all spans, and hands them on to the user's collector when there is one."""
    url: str
    tls: ssl.SSLContext
    session: aiohttp.ClientSession
    client: Client
    keys: dict[str, str] = field(default_factory=dict)
    """Callers by name: alice and visitor of tenant acme, mallory of tenant evil."""
    version: int = 0
    """The policy version that is enforced now."""

    async def ask(self, text: str, *, key: str | None = None) -> Answer:
        """POST /predict through the sidecar; again after a 503, as its Retry-After says: this machine may stop a guard for
        longer than anybody waits for it. Raises aiohttp.ClientError when there is no answer.
        """
        for _ in range(TRIES):
            answer = await self.ask_once(text, key=key)
            if answer.status != 503:
                break
            await asyncio.sleep(float(answer.headers.get("retry-after", 1)))
        return answer

    async def ask_once(self, text: str, *, key: str | None = None) -> Answer:
        """POST /predict, whatever the answer is."""
        sent = {"x-api-key": key} if key else {}
        async with self.session.post(
            f"{self.url}/predict", json={"text": text}, headers=sent, ssl=self.tls
        ) as answer:
            return Answer(
                status=answer.status,
                headers={name.lower(): value for name, value in answer.headers.items()},
                body=await answer.read(),
            )

    async def current_upstream_key(self) -> str:
        """The key that OpenBao holds now, read with the operator's root token."""
        stored = await self.stack.bao.call("GET", f"{KV}/data/{SECRET_PATH}")
        return str(stored["data"]["data"]["value"])

    async def children(self) -> dict[str, int]:
        """Pids of the agent's children: "envoy", "worker-0", ….

        Raises aiohttp.ClientError while the agent does not answer, KeyError while Envoy is down.
        """
        status: dict[str, Any] = await self.stack.sidecar_status()
        workers = {f"worker-{number}": pid for number, pid in enumerate(status["workers"]["pids"])}
        return {"envoy": int(status["envoy"]["pid"] or 0), **workers}

    async def trace_of(self, answer: Answer) -> str:
        """The trace id of an answer, from its audit record."""
        return str((await self.audit_of(answer)).get("trace_id", ""))

    async def audit_of(self, answer: Answer, seconds: float = 60) -> dict[str, Any]:
        """The audit record of an answer, from the control plane's store; {} when none arrived in time."""
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            records = await self.client.audit(decision_id=answer.decision)
            if records:
                return records[0]
            await asyncio.sleep(0.1)
        return {}
