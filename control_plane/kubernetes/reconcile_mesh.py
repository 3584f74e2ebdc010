"""MeshPolicy objects become MeshPolicies; their status counts the endpoints that have proven them."""

from __future__ import annotations

from typing import Any

from bartizan import tasks
from bartizan.api import InstanceStatus, MeshStatus, PolicyStatus
from bartizan.errors import NotFound
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.status import mesh_status
from control_plane.kubernetes.objects import MESH_KIND
from control_plane.kubernetes.reconcile import Objects, Reconciler
from control_plane.kubernetes.status import ENDPOINTS, Unit
from control_plane.policies.meshes import MeshPolicies

_LOOK_SECONDS = 10.0


class MeshReconciler(Reconciler):
    """As Reconciler, for the other kind."""

    _kind = MESH_KIND
    _unit: Unit = ENDPOINTS

    def __init__(self, objects: Objects, meshes: MeshPolicies, ledger: Ledger, **more: Any) -> None:
        super().__init__(objects, meshes, proven=_nothing, changed=ledger.changed, **more)
        self._meshes = meshes
        self._ledger = ledger

    async def _follow_fleet(self) -> None:
        """Which endpoints are touched changes with ModelPolicies, too, also with those that have no sidecar yet."""
        generation = -1
        while True:
            try:
                async with tasks.timeout(_LOOK_SECONDS):
                    generation = await self._changed(generation)
            except TimeoutError:
                pass
            self._wake.set()

    async def _proof(self, name: str) -> PolicyStatus:
        try:
            state = await self._meshes.state(name)
        except NotFound:
            return _nothing(name)
        publication = state.publication
        return _as_policy(
            mesh_status(
                self._ledger,
                name,
                revision=publication.revision if publication else 0,
                version=publication.version if publication else 0,
                endpoints=state.endpoints,
            )
        )


def _nothing(name: str) -> PolicyStatus:
    return PolicyStatus(name=name, revision=0, version=0, enforced_count=0, total=0, instances=())


def _as_policy(status: MeshStatus) -> PolicyStatus:
    """Endpoints stand where a ModelPolicy has sidecars."""
    return PolicyStatus(
        name=status.name,
        revision=status.revision,
        version=status.version,
        enforced_count=status.enforced_count,
        total=status.total,
        instances=tuple(
            InstanceStatus(
                instance_id=one.name,
                spiffe_id="",
                state="enforced" if one.enforced else "pending",
                version=one.version,
                reason=""
                if one.enforced
                else f"{one.enforced_count}/{one.total} sidecars proved version {one.version}",
            )
            for one in status.endpoints
        ),
    )
