"""The webhooks as part of the control plane: its issuer's certificate, its policies, its trust document.

app.py opens them once the issuer has signed; they end with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from bartizan.errors import InvalidInput
from bartizan.policy.schema import ModelPolicy
from bartizan.policy.validate import parse_policy
from bartizan.telemetry.logging import get_logger
from control_plane.injector.cluster import NamespaceLabels
from control_plane.injector.config import load_config
from control_plane.injector.upkeep import Upkeep
from control_plane.injector.webhook import Webhook
from control_plane.kubernetes.api_server import ApiServer
from control_plane.store.base import Store

log = get_logger()


class PublishedPolicies:
    """The published policies of a namespace, from the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, namespace: str) -> Sequence[ModelPolicy]:
        """Raises DependencyError. A document that this release can't read does not count as a guard."""
        documents = []
        async with self._store.begin() as work:
            for row in await work.policies.published():
                if row.policy.startswith(f"{namespace}/"):
                    revision = await work.policies.revision(row.policy, row.revision)
                    if revision is not None:
                        documents.append((row.policy, revision.document))
        return [
            policy for each in documents if (policy := await asyncio.to_thread(_parsed, *each)) is not None
        ]


def _parsed(name: str, document: str) -> ModelPolicy | None:
    try:
        return parse_policy(document)
    except (InvalidInput, msgspec.MsgspecError):
        log.warning("published_policy_unreadable", policy=name)
        return None


class ServedWebhook:
    """`application` is what to serve, `upkeep` what to run beside it."""

    def __init__(
        self,
        file: Path,
        server: ApiServer,
        store: Store,
        *,
        roots: Callable[[], bytes] | None,
        trust: Callable[[], Awaitable[bytes]],
    ) -> None:
        """roots: None where the webhooks are served elsewhere (`bartizan injector run`) and only the trust document is
        ours to keep. Raises InvalidInput for a wrong configuration file.
        """
        config = load_config(file)
        webhook = Webhook(config, NamespaceLabels(server), PublishedPolicies(store))
        self.application = webhook.application()
        self.upkeep = Upkeep(server, config, roots, trust)
