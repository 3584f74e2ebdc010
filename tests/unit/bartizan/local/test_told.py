"""A policy file that `up` was started with can be applied again as it is: what `up` was told still holds."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bartizan.local.told import as_told
from bartizan.local.up_state import UpState
from bartizan.policy.validate import read_policy

FILE = (Path(__file__).resolve().parents[4] / "examples" / "quickstart" / "policy.yaml").read_text()


def running(**changes: str) -> UpState:
    given = {
        "listen": "https://127.0.0.1:8444",
        "policy": "default/quickstart",
        "model": "http://127.0.0.1:9000",
        **changes,
    }
    others = dict.fromkeys(
        ("state", "api", "token_file", "ca_file", "grpc", "health", "openbao", "run_dir", "certificate"), ""
    )
    return UpState(pid=1, started=1, version=1, sockets={}, pids={}, **{**others, **given})


def test_what_the_file_leaves_open_is_what_up_was_told() -> None:
    text, filled = as_told(FILE, running())
    spec = yaml.safe_load(text)["spec"]
    assert (spec["listener"]["address"], spec["listener"]["port"]) == ("127.0.0.1", 8444)
    assert spec["model"]["port"] == 9000
    assert filled == ["spec.listener.address", "spec.listener.port", "spec.model.port"]


def test_an_address_of_ipv6_is_read_without_its_brackets() -> None:
    text, _ = as_told(FILE, running(listen="https://[::1]:8444"))
    assert yaml.safe_load(text)["spec"]["listener"]["address"] == "::1"


def test_what_the_file_says_stays() -> None:
    text, filled = as_told(
        FILE.replace("protocol: json_fields", "protocol: json_fields, port: 7000"), running()
    )
    assert yaml.safe_load(text)["spec"]["model"]["port"] == 7000
    assert "spec.model.port" not in filled


@pytest.mark.parametrize(
    "text",
    [
        FILE.replace("name: quickstart", "name: another"),
        FILE.replace("metadata: {", "metadata: {namespace: prod, "),
        FILE.replace("ModelPolicy", "MeshPolicy"),
        "apiVersion: [",
        "spec: 3",
        "metadata: {name: quickstart}",
    ],
)
def test_any_other_text_is_left_for_the_control_plane_to_judge(text: str) -> None:
    assert as_told(text, running()) == (text, [])


def test_a_text_that_looks_like_a_number_stays_a_text() -> None:
    text, filled = as_told(FILE.replace("[team-a]", '["1e5"]'), running())
    assert filled
    assert read_policy(text).document["spec"]["tenants"] == ["1e5"]
