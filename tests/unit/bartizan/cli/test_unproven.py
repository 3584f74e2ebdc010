"""`policy apply --wait` that ends with 1 says why: which sidecar or endpoint has not proven it, and for what reason."""

from __future__ import annotations

import pytest

from bartizan.api import InstanceStatus, MeshEndpoint, MeshStatus, PolicyStatus
from bartizan.cli.documents import unproven
from bartizan.cli.reasons import meaning

GOOD = InstanceStatus(instance_id="a" * 32, spiffe_id="", state="enforced")
REFUSED = InstanceStatus(
    instance_id="b" * 32, spiffe_id="", state="refused", path="spec.listener.port", reason="envoy_refused"
)
LOST = InstanceStatus(instance_id="c" * 32, spiffe_id="", state="lost", reason="lease_expired")


def policy(*instances: InstanceStatus) -> PolicyStatus:
    good = sum(one.state == "enforced" for one in instances)
    return PolicyStatus(
        name="prod/chat",
        revision=1,
        version=1,
        enforced_count=good,
        total=len(instances),
        instances=instances,
    )


@pytest.mark.parametrize(
    ("instances", "said"),
    [
        ((GOOD,), []),
        (
            (GOOD, REFUSED, LOST),
            [
                f"refused {'b' * 12}: spec.listener.port: envoy_refused",
                f"lost {'c' * 12}: lease_expired ({meaning('lease_expired')})",
            ],
        ),
    ],
)
def test_each_sidecar_that_has_not_proven_it_has_a_line(
    instances: tuple[InstanceStatus, ...], said: list[str]
) -> None:
    assert list(unproven(policy(*instances))) == said


def test_nothing_that_is_selected_is_a_reason_too() -> None:
    (line,) = unproven(policy())
    assert "labels" in line
    (line,) = unproven(
        MeshStatus(name="base", revision=1, version=1, enforced_count=0, total=0, endpoints=())
    )
    assert "selector" in line


def test_each_endpoint_of_a_mesh_policy_that_has_not_proven_it_has_a_line() -> None:
    names = (("prod/one", 2, 2), ("prod/two", 1, 2), ("prod/three", 0, 0))
    endpoints = tuple(
        MeshEndpoint(
            name=name,
            version=1,
            enforced_count=good,
            total=total,
            enforced=0 < total == good,
            settled=True,
        )
        for name, good, total in names
    )
    status = MeshStatus(name="base", revision=1, version=1, enforced_count=1, total=3, endpoints=endpoints)
    assert [line.partition(":")[0] for line in unproven(status)] == ["prod/two", "prod/three"]
