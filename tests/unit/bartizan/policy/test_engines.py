"""Profiles of engines and virtual patches: the data is whole, has its sources, and says what it should."""

from __future__ import annotations

import json
import sys
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.errors import PolicyInvalid
from bartizan.policy.engines import CLASSES, NEVER, Engine, patch_data, patches, profiles
from bartizan.policy.validate import validate_document
from sidecar.checks.validators.patches import MAX_PATTERN, Patches

PARAMETERS = {"type": "object", "properties": {"type": {"type": "string", "pattern": "^a(?=b)"}}}
TOOL = {"type": "function", "function": {"name": "a", "parameters": PARAMETERS}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": PARAMETERS}}
BREAKS: list[tuple[dict[str, Any], str]] = [
    ({"guided_json": {"type": "sting"}}, "CVE-2025-48942"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "x"}}}},
        "CVE-2025-48942",
    ),
    ({"guided_regex": "foo**("}, "CVE-2025-48943"),
    ({"guided_regex": "(?<=a+)b"}, "CVE-2025-48943"),
    ({"guided_regex": "a" * (MAX_PATTERN + 1)}, "CVE-2025-48943"),
    ({"tools": [{"type": "function", "function": {"parameters": {"pattern": "a("}}}]}, "CVE-2025-48944"),
    ({"tools": [{"type": "function", "function": {"parameters": {"type": ["x"]}}}]}, "CVE-2025-48944"),
    ({"prompt_embeds": "gASV"}, "CVE-2025-62164"),
    ({"chat_template": "{% for a in range(9) %}"}, "CVE-2025-61620"),
    ({"chat_template_kwargs": {"chat_template": "x"}}, "CVE-2025-61620"),
    ({"chat_template_kwargs": {"tokenize": True}}, "CVE-2025-62426"),
    ({"prompt": ""}, "CVE-2024-8768"),
    ({"prompt": ["a", ""]}, "CVE-2024-8768"),
    ({"n": 1_000_000}, "CVE-2026-34756"),
    ({"n": "many"}, "CVE-2026-34756"),
]
PASSES: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "pattern ( and type: x"}], "n": 2, "tools": [TOOL]},
    {
        "response_format": SCHEMA,
        "guided_regex": "(?<=ab)(?<!c)a+",
        "chat_template_kwargs": {"enable_thinking": False},
    },
    {"response_format": {"type": "json_object"}, "prompt": "hello", "prompt_embeds": None, "n": None},
]


@pytest.mark.parametrize(("body", "cve"), BREAKS)
def test_a_request_that_a_vulnerability_needs_is_refused(body: dict[str, Any], cve: str) -> None:
    assert Patches(patches("vllm")).refuses(json.dumps(body).encode()) == cve
    assert Patches(patches("sglang")).refuses(json.dumps(body).encode()) is None


@pytest.mark.parametrize("body", PASSES)
def test_ordinary_requests_pass(body: dict[str, Any]) -> None:
    assert Patches(patches("vllm")).refuses(json.dumps(body).encode()) is None


def test_a_pattern_costs_what_its_length_allows() -> None:
    """To compile it would write each class out for letters of either case: a call for every character in it."""
    pattern = "(?i)" + "[\x01-\uffff]" * 10
    count = 0

    def note(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    check, body = Patches(patches("vllm")), json.dumps({"guided_regex": pattern}).encode()
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        refused = check.refuses(body)
    finally:
        sys.setprofile(before)
    assert refused is None
    assert count < 5_000


def test_every_patch_is_shown_by_a_request() -> None:
    assert {cve for _, cve in BREAKS} == {entry["id"] for entry in patch_data()["patch"]}


@given(
    st.binary(max_size=50)
    | st.recursive(st.none() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_any_body_gets_an_answer(body: bytes) -> None:
    Patches(patches("vllm")).refuses(body)


def test_every_entry_has_a_source_and_known_engines() -> None:
    for entry in [*patch_data()["patch"], *patch_data()["covered"]]:
        assert entry["source"].startswith("https://")
        assert entry["id"] in entry["source"]
        assert set(entry["engines"]) <= profiles().keys()
        assert entry["fixed"]
        assert entry["says"]


def test_what_is_said_to_be_covered_is_refused_by_the_profile() -> None:
    for entry in patch_data()["covered"]:
        for engine in entry["engines"]:
            for route in entry["routes"]:
                assert profiles()[engine].kind_of("POST", route) in NEVER, (entry["id"], route)


@pytest.mark.parametrize("name", sorted(profiles()))
def test_a_profile_names_each_route_once_and_none_that_matches_inference_is_closed(name: str) -> None:
    routes = profiles()[name].routes
    assert len({(route.method, route.path) for route in routes}) == len(routes)
    assert {route.kind for route in routes} <= set(CLASSES)
    for route in routes:
        assert route.path.startswith("/")
        if route.kind == "inference":
            assert profiles()[name].kind_of(route.method, route.path.replace("*", "x")) == "inference", route


def test_every_engine_of_the_language_has_a_profile_but_other() -> None:
    assert profiles().keys() == set(get_args(Engine)) - {"other"}


@pytest.mark.parametrize(
    ("model", "path", "problem", "code"),
    [
        ({"engine": "triton"}, "/v2/repository/models/a/load", "spec.routes[0].path", "engine_route"),
        ({"engine": "vllm"}, "/collective_rpc", "spec.routes[0].path", "engine_route"),
        ({"engine": "vlm"}, "/p", "spec.model.engine", "invalid_value"),
        ({"expose": ["metrics"]}, "/p", "spec.model.expose[0]", "not_applicable"),
        ({"engine": "ollama", "expose": ["metrics"]}, "/p", "spec.model.expose[0]", "not_applicable"),
        ({"engine": "vllm", "expose": ["health", "health"]}, "/p", "spec.model.expose[1]", "duplicate"),
        ({"engine": "vllm", "expose": ["admin"]}, "/p", "spec.model.expose[0]", "invalid_value"),
    ],
)
def test_policies_cannot_open_what_an_engine_keeps_for_itself(
    model: dict[str, Any], path: str, problem: str, code: str
) -> None:
    spec = {
        "selector": {"matchLabels": {"app": "a"}},
        "listener": {"tls": "none"},
        "model": {"name": "a", "protocol": "opaque", **model},
        "routes": [{"path": path}],
        "tenants": ["acme"],
        "authn": {"apiKeys": {"set": "a"}},
    }
    named = {"apiVersion": "bartizan.dev/v1alpha1", "kind": "ModelPolicy", "metadata": {"name": "a"}}
    with pytest.raises(PolicyInvalid) as refused:
        validate_document({**named, "spec": spec})
    assert [(one.path, one.code) for one in refused.value.problems] == [(problem, code)]
