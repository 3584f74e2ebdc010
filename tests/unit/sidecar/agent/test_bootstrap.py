"""Envoy's bootstrap: golden folders tests/golden/bootstrap/<case> and the rules behind them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bartizan.errors import InvalidInput
from bartizan.policy import names
from sidecar.agent.bootstrap import bootstrap, bootstrap_json, envoy_command

RUN = Path("/run/bartizan")


@pytest.mark.parametrize(("case", "workers"), [("one_worker", 1), ("three_workers", 3)])
def test_bootstrap_is_the_golden_one(case: str, workers: int, golden: Callable[[str, str], None]) -> None:
    golden(f"bootstrap/{case}/bootstrap.json", bootstrap_json(bootstrap("instance-1", RUN, workers)) + "\n")


def test_the_way_out_of_the_pod_is_the_golden_one(golden: Callable[[str, str], None]) -> None:
    made = bootstrap("instance-1", RUN, 1, egress_names=("api.example.com", "*.example.org"))
    golden("bootstrap/egress/bootstrap.json", bootstrap_json(made) + "\n")


def test_the_way_out_listens_on_loopback_only_and_admits_listed_names_only() -> None:
    (listener,) = bootstrap("i", RUN, 1, egress_names=("api.example.com",)).static_resources.listeners
    assert listener.address.socket_address.address == "127.0.0.1"
    (chain,) = listener.filter_chains
    assert list(chain.filter_chain_match.server_names) == ["api.example.com"]
    assert not listener.HasField("default_filter_chain")
    assert not bootstrap("i", RUN, 1).static_resources.listeners


def test_every_worker_is_an_endpoint_of_the_guard() -> None:
    document = json.loads(bootstrap_json(bootstrap("i", RUN, 2)))
    clusters = {cluster["name"]: cluster for cluster in document["static_resources"]["clusters"]}
    assert set(clusters) == {names.CLUSTER_XDS, names.CLUSTER_GUARD, names.CLUSTER_ALS, names.CLUSTER_OTLP}
    endpoints = clusters[names.CLUSTER_GUARD]["load_assignment"]["endpoints"][0]["lb_endpoints"]
    paths = [entry["endpoint"]["address"]["pipe"]["path"] for entry in endpoints]
    assert paths == ["/run/bartizan/guard-0.sock", "/run/bartizan/guard-1.sock"]


def test_admin_is_only_a_socket_of_its_owner() -> None:
    pipe = bootstrap("i", RUN, 1).admin.address.pipe
    assert (pipe.path, oct(pipe.mode)) == ("/run/bartizan/admin.sock", "0o600")


@pytest.mark.parametrize(("run_dir", "workers"), [(Path("/" + "r" * 100), 1), (RUN, 0)])
def test_what_envoy_could_not_serve_is_refused(run_dir: Path, workers: int) -> None:
    with pytest.raises(InvalidInput):
        bootstrap("i", run_dir, workers)


def test_command_line_carries_drain_time_and_no_hot_restart() -> None:
    command = envoy_command(Path("/bin/envoy"), Path("/run/e.json"), concurrency=2, drain_seconds=7)
    assert command[:3] == ["/bin/envoy", "--config-path", "/run/e.json"]
    assert command[command.index("--drain-time-s") + 1] == "7"
    assert command[command.index("--concurrency") + 1] == "2"
    assert "--disable-hot-restart" in command
