"""The Envoy half of a bundle: listener, routes and the model's cluster in the JSON form that travels."""

from __future__ import annotations

from bartizan.policy.bundle import EnvoyResources
from bartizan.xds.resources import to_json
from control_plane.compile.envoy.cluster import model_cluster
from control_plane.compile.envoy.filters import jwt_authn
from control_plane.compile.envoy.listener import listener
from control_plane.compile.envoy.route import route_configuration
from control_plane.compile.resolve import Resolved


def envoy_resources(resolved: Resolved) -> EnvoyResources:
    """Everything the agent serves to Envoy for this policy; the other clusters stand in Envoy's bootstrap."""
    return EnvoyResources(
        listeners=(to_json(listener(resolved)),),
        routes=(to_json(route_configuration(resolved)),),
        clusters=(to_json(model_cluster(resolved)),),
        extensions=() if (tokens := jwt_authn.extension(resolved)) is None else (to_json(tokens),),
    )
