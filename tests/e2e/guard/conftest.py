"""Policies of this folder, and one gateway (Envoy, worker, model) for all tests of a file."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.gateway import Gateway, StaticConfig, gateway
from tests.support.guard import KEY

CANARY = "canary-7f3a9c21"
FIELDS = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {name: fields}
spec:
  selector: {matchLabels: {app: fields}}
  listener: {address: 127.0.0.1, port: {port}, tls: none}
  model: {name: fields, protocol: json_fields, port: {model}}
  routes:
    - {path: /predict, inputText: [$.text], outputText: [$.echo], outputScores: [$.probabilities]}
  tenants: [acme]
  authn: {apiKeys: {set: keys}}
  limits: {body: {max: 64KiB}}
  input: [{pii: {types: [email, card], action: redact}}]
  output: [{canary: {tokens: [canary-7f3a9c21], action: cut}}, {probabilities: {decimals: 2}}]
"""
CHAT = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {name: chat}
spec:
  selector: {matchLabels: {app: chat}}
  listener: {address: 127.0.0.1, port: {port}, tls: none}
  model: {name: chat, protocol: openai, port: {model}}
  tenants: [acme]
  authn: {apiKeys: {set: keys}}
  authz: [{name: no-beta, deny: 'request.model == "beta"'}]
  output: [{canary: {tokens: [canary-7f3a9c21], action: cut}}]
"""
AUTH = {"x-api-key": KEY}
ASK = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": "hi"}]}


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="fields_gateway")
async def _fields_gateway(static_config: StaticConfig) -> AsyncIterator[Gateway]:
    async with gateway(FIELDS, static_config) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="chat_gateway")
async def _chat_gateway(static_config: StaticConfig) -> AsyncIterator[Gateway]:
    async with gateway(CHAT, static_config) as running:
        yield running


@pytest.fixture
def fields(fields_gateway: Gateway) -> Gateway:
    """Reads JSON fields both ways."""
    fields_gateway.reset()
    return fields_gateway


@pytest.fixture
def chat(chat_gateway: Gateway) -> Gateway:
    """Reads chat answers only."""
    chat_gateway.reset()
    return chat_gateway
