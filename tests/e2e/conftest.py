"""Shared by end-to-end tests with a real Envoy."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bartizan.policy.bundle import Bundle
from sidecar.agent.bootstrap import bootstrap, bootstrap_json


@pytest.fixture(scope="session")
def static_config() -> Callable[[Bundle, Path], dict[str, Any]]:
    """static_config(bundle, run_dir): one Envoy file that needs no agent, with the bundle's resources inside."""
    return _static_config


def _static_config(bundle: Bundle, run_dir: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(bootstrap_json(bootstrap("test", run_dir, 2)))
    config.pop("dynamic_resources")
    listeners = copy.deepcopy(list(bundle.envoy.listeners))
    for listener in listeners:
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager.pop("rds")
        (manager["route_config"],) = (_typeless(routes) for routes in bundle.envoy.routes)
    resources = config["static_resources"]
    resources["listeners"] = [_typeless(listener) for listener in listeners]
    resources["clusters"].extend(_typeless(cluster) for cluster in bundle.envoy.clusters)
    return config


def _typeless(resource: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in resource.items() if key != "@type"}
