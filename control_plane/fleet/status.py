"""The ledger as the API shows it: proven status per policy, and the list of sidecars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from bartizan.api import INCAPABLE, InstanceInfo, InstanceStatus, MeshEndpoint, MeshStatus, PolicyStatus
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.proof import Observation, Row, State
from control_plane.store.base import InstanceRow

# Outside nobody needs to know whether silence began before or after a restart of ours; the reason says it.
_SHOWN: Mapping[State, Literal["enforced", "pending", "refused", "lost"]] = {
    "enforced": "enforced",
    "pending": "pending",
    "refused": "refused",
    "stale": "pending",
    "unreachable": "lost",
}


def policy_status(ledger: Ledger, name: str, *, after: str = "", limit: int | None = None) -> PolicyStatus:
    """What is proven of a policy's newest publication; version 0 and no instances when nothing is published.

    after, limit: which instances are shown, by their ids; all are counted.
    """
    wanted = ledger.wanted(name)
    rows = ledger.rows(name)
    following = [row for row in rows if row.instance_id > after]
    shown = following[:limit]
    return PolicyStatus(
        name=name,
        revision=wanted.revision if wanted else 0,
        version=wanted.version if wanted else 0,
        enforced_count=sum(row.state == "enforced" for row in rows),
        total=len(rows),
        instances=tuple(_instance_status(row) for row in shown),
        unsettled_count=sum(
            _SHOWN[row.state] == "pending" and not row.reason.startswith(INCAPABLE) for row in rows
        ),
        cursor=shown[-1].instance_id if len(shown) < len(following) else "",
    )


def mesh_status(
    ledger: Ledger, name: str, *, revision: int, version: int, endpoints: Iterable[str]
) -> MeshStatus:
    """At how many of these endpoints the newest publication is proven; it has the MeshPolicy of now in it."""
    found = []
    for endpoint in endpoints:
        status = policy_status(ledger, endpoint)
        found.append(
            MeshEndpoint(
                name=endpoint,
                version=status.version,
                enforced_count=status.enforced_count,
                total=status.total,
                enforced=status.enforced,
                settled=status.settled,
            )
        )
    return MeshStatus(
        name=name,
        revision=revision,
        version=version,
        enforced_count=sum(one.enforced for one in found),
        total=len(found),
        endpoints=tuple(found),
    )


def instance_info(ledger: Ledger, row: InstanceRow) -> InstanceInfo:
    """A stored instance with what it said last."""
    seen, received_at = ledger.observation(row.instance_id) or (Observation(boot_id="", sequence=0), 0.0)
    live = ledger.is_live(row.instance_id)
    return InstanceInfo(
        instance_id=row.instance_id,
        spiffe_id=row.spiffe_id,
        namespace=row.namespace,
        labels=dict(row.labels),
        created_at=row.created_at,
        live=live,
        ready=live and seen.ready,
        last_seen=received_at,
        agent_version=seen.agent_version,
        envoy_version=seen.envoy_version,
        policy=seen.policy,
        policy_version=seen.version,
        conditions=seen.conditions,
    )


def _instance_status(row: Row) -> InstanceStatus:
    return InstanceStatus(
        instance_id=row.instance_id,
        spiffe_id=row.spiffe_id,
        state=_SHOWN[row.state],
        version=row.version,
        revision=row.revision,
        reason=row.reason,
        path=row.path,
        trace_id=row.trace_id,
        last_seen=row.received_at,
    )
