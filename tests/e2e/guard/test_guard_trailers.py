"""Requests that end with trailers, over real Envoy: whatever they hold or lack, the body checks come first."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.support.gateway import StaticConfig, gateway
from tests.support.guard import KEY
from tests.support.raw_http2 import Http2Reply, post_with_trailers

pytestmark = pytest.mark.e2e

POLICY = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {name: chat}
spec:
  selector: {matchLabels: {app: chat}}
  listener: {address: 127.0.0.1, port: {port}, tls: none}
  model: {name: chat, protocol: openai, port: {model}}
  tenants: [acme]
  authn: {apiKeys: {set: keys}}
  limits: {body: {max: 64KiB}}
  authz: [{name: only-small, allow: 'request.model == "small"'}]
  input: [{pii: {types: [email], action: redact}}]
"""
OUTPUT = "  output: [{canary: {tokens: [canary-7f3a9c21], action: cut}}]\n"
GOOD = json.dumps(
    {"model": "small", "messages": [{"role": "user", "content": "ask jane@example.org"}]}
).encode()
FORBIDDEN = GOOD.replace(b"small", b"large")
PATH = "/v1/chat/completions"


@pytest.mark.parametrize(
    "policy", [POLICY, POLICY + OUTPUT], ids=["answers not inspected", "answers inspected"]
)
async def test_no_request_with_trailers_passes_unjudged(static_config: StaticConfig, policy: str) -> None:
    async with gateway(policy, static_config) as model:
        port = int(model.url.rsplit(":", 1)[1])

        async def post(*pieces: bytes, **changes: str) -> Http2Reply:
            headers = {"x-api-key": KEY, "content-type": "application/json", **changes}
            return await post_with_trailers(port, PATH, headers, pieces)

        packed = {"content-encoding": "gzip"}
        refused = {
            "nothing": (await post(), 400),
            "an empty frame": (await post(b""), 400),
            "a forbidden body": (await post(FORBIDDEN), 403),
            "two empty frames around a forbidden body": (await post(b"", FORBIDDEN, b""), 403),
            "a forbidden packed body": (await post(gzip.compress(FORBIDDEN), **packed), 403),
            "half of a packed body": (await post(gzip.compress(FORBIDDEN)[:10], **packed), 400),
            "too much": (await post(b"a" * 40_000, b"a" * 40_000), 413),
        }
        assert {name: reply.status for name, (reply, _) in refused.items()} == {
            name: status for name, (_, status) in refused.items()
        }
        assert model.received == []
        for pieces, changes in [
            ((GOOD,), {}),
            ((GOOD[:20], GOOD[20:]), {}),
            ((gzip.compress(GOOD),), packed),
        ]:
            await post(*pieces, **changes)
            body = model.received.pop()
            assert json.loads(body)["model"] == "small"
            assert b"jane@example.org" not in body
