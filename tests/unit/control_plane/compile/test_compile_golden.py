"""Every case of tests/golden/compile: its policy compiles to exactly the bundle beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from bartizan.policy.bundle import Bundle
from bartizan.policy.validate import parse_policy
from bartizan.xds.resources import from_json
from control_plane.compile.bundle import compile_bundle

CASES = sorted(
    path.parent.name for path in (Path(__file__).parents[3] / "golden" / "compile").glob("*/policy.yaml")
)
ISSUED = "2026-01-02T03:04:05Z"


def compiled(golden_root: Path, case: str) -> Bundle:
    policy = parse_policy((golden_root / "compile" / case / "policy.yaml").read_text())
    return compile_bundle(policy, revision=3, version=7, issued_at=ISSUED)


@pytest.mark.parametrize("case", CASES)
def test_policy_compiles_to_its_golden_bundle(
    case: str, golden_root: Path, golden: Callable[[str, str], None]
) -> None:
    document = msgspec.json.encode(compiled(golden_root, case), order="deterministic")
    golden(f"compile/{case}/bundle.json", msgspec.json.format(document, indent=2).decode() + "\n")


@pytest.mark.parametrize("case", CASES)
def test_bundle_survives_the_way_to_the_agent(case: str, golden_root: Path) -> None:
    bundle = compiled(golden_root, case)
    arrived = msgspec.json.decode(msgspec.json.encode(bundle, order="deterministic"), type=Bundle)
    assert arrived == bundle
    for sent, received in zip(_resources(bundle), _resources(arrived), strict=True):
        assert from_json(sent).SerializeToString() == from_json(received).SerializeToString()


@pytest.mark.parametrize("case", CASES)
def test_no_route_retries_the_model(case: str, golden_root: Path) -> None:
    text = msgspec.json.encode(compiled(golden_root, case).envoy.routes).decode()
    assert "retry_policy" not in text


def _resources(bundle: Bundle) -> tuple[dict[str, object], ...]:
    return (*bundle.envoy.listeners, *bundle.envoy.routes, *bundle.envoy.clusters)
