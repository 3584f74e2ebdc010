"""Everything that the control plane does with a cluster, made and tied together: what app.py starts.

app.py imports this only where a cluster is set: the client is an extra, and takes half a second to load.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from bartizan import tasks
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.status import policy_status
from control_plane.identity.projected import PodTokens
from control_plane.kubernetes.api_server import ApiServer, connect
from control_plane.kubernetes.attestation import ReviewedTokens, VerifiedTokens, pod_object
from control_plane.kubernetes.cluster_policies import ClusterPolicies
from control_plane.kubernetes.election import Election
from control_plane.kubernetes.objects import MESH_PLURAL
from control_plane.kubernetes.pods import PodReaper
from control_plane.kubernetes.reconcile import Reconciler
from control_plane.kubernetes.reconcile_mesh import MeshReconciler
from control_plane.policies.service import Policies
from control_plane.settings import Settings
from control_plane.state_files import replica_name
from control_plane.store.base import Store


class Cluster:
    """Made by `open_cluster`."""

    def __init__(self, server: ApiServer, settings: Settings) -> None:
        self.server = server
        self._settings = settings
        self.tokens: PodTokens = (
            ReviewedTokens(server) if settings.kubernetes_tokens == "review" else VerifiedTokens(server)
        )

    async def follow(
        self,
        *,
        store: Store,
        policies: Policies,
        ledger: Ledger,
        removed: Callable[[str], Awaitable[None]],
    ) -> None:
        """Until cancelled: while this replica leads, reconcile policies and remove instances whose pod is gone."""

        async def lead() -> None:
            reconciler = Reconciler(
                ClusterPolicies(self.server),
                policies,
                proven=lambda name: policy_status(ledger, name),
                changed=ledger.changed,
                leads=election.leads,
            )
            objects = ClusterPolicies(self.server, MESH_PLURAL)
            meshes = MeshReconciler(objects, policies.meshes, ledger, leads=election.leads)
            reaper = PodReaper(store, self._pod, live=ledger.is_live, removed=removed)
            async with tasks.Group() as group:
                tasks.start(group, reconciler.run(), name="reconciler")
                tasks.start(group, meshes.run(), name="mesh-reconciler")
                tasks.start(group, reaper.run(), name="pod-reaper")

        election = Election(
            self.server,
            namespace=self._settings.kubernetes_namespace,
            me=replica_name(self._settings.state_dir),
        )
        await election.lead(lead)

    async def _pod(self, namespace: str, name: str) -> dict[str, object] | None:
        return await pod_object(self.server, namespace, name)


@asynccontextmanager
async def open_cluster(settings: Settings) -> AsyncIterator[Cluster]:
    """Raises InvalidInput when the API server can't be reached as the settings say."""
    async with connect(settings.kubernetes) as server:
        yield Cluster(server, settings)
