"""The webhooks as part of the control plane: its issuer's certificate, its policies, its trust document.

app.py opens them once the issuer has signed; they end with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from bartizan.errors import InvalidInput
from bartizan.policy.effective import effective_policy
from bartizan.policy.schema import ModelPolicy
from bartizan.policy.validate import Mesh
from bartizan.telemetry.logging import get_logger
from control_plane.injector.cluster import GuardedPods, Namespaces
from control_plane.injector.config import check_exempt, load_config
from control_plane.injector.upkeep import Upkeep
from control_plane.injector.webhook import Webhook
from control_plane.kubernetes.api_server import ApiServer
from control_plane.policies.publishing import in_effect, written_of
from control_plane.settings import Settings
from control_plane.store.base import InEffectRow, Store

log = get_logger()


class PublishedPolicies:
    """The published policies of a namespace, from the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, namespace: str) -> Sequence[ModelPolicy]:
        """As they hold with their MeshPolicies. What this release can't read does not count as a guard.

        Raises DependencyError, and InvalidInput when a MeshPolicy can't be read.
        """
        async with self._store.begin() as work:
            rows = await work.policies.in_effect()
            meshes = in_effect(await work.meshes.in_effect()).meshes
        own = [row for row in rows if row.namespace == namespace]
        found = [await asyncio.to_thread(_effective, row, meshes) for row in own]
        return [policy for policy in found if policy is not None]


def _effective(row: InEffectRow, meshes: Sequence[Mesh]) -> ModelPolicy | None:
    try:
        return effective_policy(written_of(row.document), meshes).policy
    except (InvalidInput, msgspec.MsgspecError):
        log.warning("published_policy_unreadable", policy=row.name)
        return None


class ServedWebhook:
    """`application` is what to serve, `upkeep` what to run beside it."""

    def __init__(
        self,
        settings: Settings,
        server: ApiServer,
        store: Store,
        *,
        roots: Callable[[], bytes] | None,
        trust: Callable[[], Awaitable[bytes]],
    ) -> None:
        """roots: None where the webhooks are served elsewhere (`bartizan injector run`) and only the trust document is
        ours to keep. Raises InvalidInput for a wrong configuration file.
        """
        assert settings.injector is not None
        config = load_config(settings.injector)
        check_exempt(config, settings.kubernetes_namespace, str(settings.injector))
        self.upkeep = Upkeep(server, config, roots, trust)
        self.application = Webhook(
            config,
            Namespaces(server),
            PublishedPolicies(store),
            GuardedPods(server),
            ready=lambda: self.upkeep.published,
        ).application()
