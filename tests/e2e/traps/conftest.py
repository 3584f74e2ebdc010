"""One stand for each file: a chat model whose requests and answers are both inspected, as most traps need it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.watched_guard import Stand, StaticConfig, watched

POLICY = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {name: traps}
spec:
  selector: {matchLabels: {app: traps}}
  listener: {address: 127.0.0.1, port: {port}, tls: none}
  model: {name: chat, protocol: openai, port: {model}}
  tenants: [acme]
  authn: {apiKeys: {set: keys}}
  limits: {body: {max: 8MiB}}
  authz: [{name: no-beta, deny: 'request.model == "beta"'}]
  input: [{sanitize: {}}, {pii: {types: [email], action: redact}}]
  output: [{canary: {tokens: [canary-7f3a9c21], action: cut}}]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="house")
async def _house(static_config: StaticConfig) -> AsyncIterator[Stand]:
    async with watched(POLICY, static_config) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def stand(house: Stand) -> AsyncIterator[Stand]:
    house.reset()
    yield house
    for exchange in house.guard.exchanges:
        if house.guard.instead is None:
            exchange.check_is_lawful()
