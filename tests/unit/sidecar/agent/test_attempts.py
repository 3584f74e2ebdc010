"""How long an attempt may take is said where another worker could be asked, and nowhere else; the rest stays as it was."""

from __future__ import annotations

from typing import Any

import pytest

from bartizan.policy.bundle import EnvoyResources
from bartizan.policy.names import TYPE_LISTENER
from bartizan.xds.resources import to_json
from bartizan.xds.snapshot import Resources
from control_plane.compile.bundle import compile_bundle
from protos.gen.envoy.config.listener.v3.listener_pb2 import Listener
from sidecar.agent import attempts
from sidecar.agent.changes import Changes
from sidecar.agent.envoy_config import EnvoyConfig
from tests.support.compiled import policy

SECOND = [{"key": "x-envoy-upstream-rq-per-try-timeout-ms", "value": "1000"}]
OTHER = [{"key": SECOND[0]["key"], "value": "5"}]


def compiled(said: list[dict[str, str]]) -> EnvoyResources:
    """A bundle's resources, as a control plane that says so much in its listener makes them."""
    bundle = compile_bundle(policy(), revision=1, version=1, issued_at="2026-01-01T00:00:00Z")
    (listener,) = bundle.envoy.listeners
    if said:
        check_of(listener)["grpc_service"]["initial_metadata"] = said
    return bundle.envoy


def check_of(listener: Any) -> dict[str, Any]:
    filters = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    (found,) = (one["typed_config"] for one in filters if one["name"] == "envoy.filters.http.ext_authz")
    assert isinstance(found, dict)
    return found


def served(listeners: Resources) -> dict[str, Any]:
    (item,) = listeners.items.values()
    return to_json(Listener.FromString(item.value))


@pytest.mark.parametrize("said", [[], SECOND, OTHER])
@pytest.mark.parametrize(("workers", "told"), [(1, None), (2, SECOND), (64, SECOND)])
def test_an_attempt_is_limited_where_there_are_several_workers_whatever_a_bundle_says(
    said: list[dict[str, str]], workers: int, told: list[dict[str, str]] | None
) -> None:
    config = EnvoyConfig(Changes(), workers=workers)
    snapshot = config.publish(EnvoyConfig.read(compiled(said)))
    assert check_of(served(snapshot.types[TYPE_LISTENER]))["grpc_service"].get("initial_metadata") == told


def test_nothing_else_of_a_listener_changes_and_for_one_worker_not_a_byte() -> None:
    given = EnvoyConfig.read(compiled([]))[TYPE_LISTENER]
    assert attempts.limited(given, 1) == given
    several = served(attempts.limited(given, 2))
    del check_of(several)["grpc_service"]["initial_metadata"]
    assert several == served(given)


def test_without_a_policy_there_is_nothing_to_say() -> None:
    nothing = Resources.of({})
    assert attempts.limited(nothing, 2) == nothing
