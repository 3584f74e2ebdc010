"""Rules of the compiler that no golden file says in words."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.errors import PolicyInvalid
from bartizan.policy import names
from bartizan.policy.capabilities import BODY_IN_CHECK as BODY_IN_CHECK_CAPABILITY
from bartizan.policy.capabilities import SUPPORTED
from control_plane.compile.envoy.edge import all_but, stripped_families
from control_plane.compile.envoy.filters.catalog import FILTERS
from control_plane.compile.envoy.filters.limits import BODY_IN_CHECK
from control_plane.compile.explain import explain
from tests.support.compiled import bundle, filters, policy


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, ["rbac", "ext_authz", "buffer", "custom_response", "router"]),
        (
            {"input": [{"check": "pii"}]},
            ["rbac", "ext_authz", "decompressor", "buffer", "ext_proc", "custom_response", "router"],
        ),
        (
            {"output": [{"check": "pii"}]},
            ["rbac", "ext_authz", "decompressor", "buffer", "ext_proc", "router"],
        ),
        (
            {"model": {"name": "m", "protocol": "json_fields", "credential": {"secret": "k"}}},
            ["rbac", "ext_authz", "buffer", "credential_injector", "custom_response", "router"],
        ),
    ],
)
def test_only_needed_filters_stand_in_the_chain_and_in_order(
    spec: dict[str, Any], expected: list[str]
) -> None:
    assert filters(bundle(policy(**spec))) == expected


@pytest.mark.parametrize(
    ("spec", "hop"),
    [
        ({}, False),
        ({"authz": [{"name": "r", "allow": 'identity.plan == "a"'}]}, False),
        ({"authz": [{"name": "r", "deny": "request.stream"}]}, True),
        ({"input": [{"check": "sanitize"}]}, True),
        ({"output": [{"check": "probabilities"}]}, True),
        ({"input": [{"check": "sanitize"}], "mode": "shadow"}, True),
    ],
)
def test_content_hop_exists_exactly_where_bodies_matter(spec: dict[str, Any], hop: bool) -> None:
    compiled = bundle(policy(**spec))
    assert compiled.content_hop is hop
    assert ("ext_proc" in filters(compiled)) is hop


REDACTING = {"check": "secrets", "action": "redact"}


@pytest.mark.parametrize(
    ("spec", "one_call"),
    [
        ({}, False),
        ({"authz": [{"name": "r", "deny": "request.stream"}]}, True),
        ({"input": [{"check": "promptInjection"}, {"check": "secrets"}]}, True),
        ({"input": [{"check": "pii", "action": "flag"}]}, True),
        ({"input": [{"check": "promptInjection"}], "mode": "shadow"}, True),
        ({"input": [{"check": "pii"}]}, False),
        ({"input": [{"check": "promptInjection"}, REDACTING]}, False),
        ({"input": [REDACTING], "mode": "shadow"}, False),
        ({"input": [{"check": "sanitize"}, {"check": "promptInjection"}]}, False),
        ({"input": [{"check": "secrets"}], "output": [{"check": "probabilities"}]}, False),
    ],
)
def test_a_body_comes_with_the_check_exactly_where_nothing_is_changed_and_no_answer_read(
    spec: dict[str, Any], one_call: bool
) -> None:
    compiled = bundle(policy(**spec))
    assert compiled.body_in_check is one_call
    assert (BODY_IN_CHECK_CAPABILITY in compiled.requires) is one_call
    routes = compiled.envoy.routes[0]["virtual_hosts"][0]["routes"]
    served = [route for route in routes if "route" in route]
    assert len(served) == (2 if one_call else 1)
    assert any("one ext_authz call with the body" in line for line in explain(policy(**spec))) is one_call


@pytest.mark.parametrize(("limit", "largest"), [("1MiB", BODY_IN_CHECK), ("1000B", 1000)])
def test_only_announced_small_plain_bodies_come_with_the_check(limit: str, largest: int) -> None:
    compiled = bundle(policy(input=[{"check": "secrets"}], limits={"body": {"max": limit}}))
    routes = compiled.envoy.routes[0]["virtual_hosts"][0]["routes"]
    small, usual = (route for route in routes if "route" in route)
    headers = {match["name"]: match for match in small["match"]["headers"]}
    assert headers["content-length"]["range_match"] == {"end": str(largest + 1)}
    assert headers["content-encoding"] == {
        "name": "content-encoding",
        "present_match": True,
        "invert_match": True,
    }
    settings = small["typed_per_filter_config"]["envoy.filters.http.ext_authz"]["check_settings"]
    assert settings["with_request_body"] == {"max_request_bytes": largest, "pack_as_bytes": True}
    off = {
        name for name, config in small["typed_per_filter_config"].items() if config.get("disabled") is True
    }
    assert "envoy.filters.http.ext_proc" in off
    later = usual["typed_per_filter_config"]["envoy.filters.http.ext_authz"]["check_settings"]
    assert later["disable_request_body_buffering"] is True
    assert "envoy.filters.http.ext_proc" not in usual["typed_per_filter_config"]


@pytest.mark.parametrize("limit", ["1000B", "256KiB", "1MiB", "4MiB"])
def test_where_nobody_reads_the_body_its_limit_is_the_buffers_own(limit: str) -> None:
    given = policy(
        model={"name": "m", "protocol": "json_fields", "engine": "vllm", "expose": ["health"]},
        input=[REDACTING],
        limits={"body": {"max": limit}},
    )
    compiled = bundle(given)
    routes = compiled.envoy.routes[0]["virtual_hosts"][0]["routes"]
    exposed = [route for route in routes if "route" in route and "/p" not in route["name"]]
    assert exposed
    for route in exposed:
        held = route["typed_per_filter_config"]["envoy.filters.http.buffer"]["buffer"]
        assert held["max_request_bytes"] == compiled.plan.max_body_bytes


def test_rules_that_ask_for_the_body_are_kept_apart() -> None:
    rules = [
        {"name": "early", "allow": 'identity.region == "eu"'},
        {"name": "late", "deny": "request.max_tokens > 10"},
    ]
    plan = bundle(policy(authz=rules)).plan
    assert [rule.name for rule in plan.authz] == ["early"]
    assert [rule.name for rule in plan.body_authz] == ["late"]


@pytest.mark.parametrize(
    ("limit", "per_second", "burst"),
    [
        ({"per": "key", "rate": "50/s"}, 50.0, 50),
        ({"per": "tenant", "rate": "120/m"}, 2.0, 120),
        ({"per": "sidecar", "rate": "3600/h", "burst": 7}, 1.0, 7),
    ],
)
def test_rates_become_buckets(limit: dict[str, Any], per_second: float, burst: int) -> None:
    (compiled,) = bundle(policy(limits={"requests": [limit]})).plan.rate_limits
    assert (compiled.per, compiled.per_second, compiled.burst) == (limit["per"], per_second, burst)


CHANGES: dict[str, dict[str, Any]] = {
    "tenants": {"tenants": ["globex"]},
    "routes": {"routes": [{"path": "/other"}]},
    "rates": {"limits": {"requests": [{"per": "key", "rate": "1/s"}], "body": {"max": "10MiB"}}},
    "sampling": {"telemetry": {"traceSample": 1}},
    "model's port": {"model": {"name": "m", "protocol": "json_fields", "port": 9000}},
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_often_leaves_the_listener_alone(change: str) -> None:
    # a changed filter chain cuts running streams
    before, after = bundle(policy()), bundle(policy(**CHANGES[change]), revision=2, version=2)
    assert before.envoy.listeners == after.envoy.listeners
    assert before != after


def test_every_served_route_and_the_probe_name_the_plan() -> None:
    compiled = bundle(policy(input=[{"check": "pii"}]), revision=5, version=8)
    routes = compiled.envoy.routes[0]["virtual_hosts"][0]["routes"]
    assert [route["name"] for route in routes] == ["probe", "too large POST /p", "POST /p", "undeclared"]
    for route in (routes[0], routes[2]):
        assert route["metadata"]["filter_metadata"]["bartizan"]["revision"] == "5.8" == compiled.plan.id
        context = route["typed_per_filter_config"]["envoy.filters.http.ext_authz"]["check_settings"]
        assert context["context_extensions"] == {"revision": "5.8", "content": "1", "trace": "1000"}
    assert "route" not in routes[0]
    assert "route" not in routes[-1]


@pytest.mark.parametrize("spec", [{}, {"input": [{"check": "secrets"}]}, {"input": [{"check": "pii"}]}])
def test_envoy_tries_the_routes_of_one_path_and_method_one_after_the_other_and_what_is_rare_first(
    spec: dict[str, Any],
) -> None:
    compiled = bundle(
        policy(routes=[{"path": "/p"}, {"path": "/p", "method": "PUT"}, {"path": "/q"}], **spec)
    )
    tried = []
    for route in compiled.envoy.routes[0]["virtual_hosts"][0]["routes"]:
        if "path" in route["match"]:
            *_, last = route["match"]["headers"]
            assert last["name"] == ":method"
            tried.append((route["match"]["path"], last["string_match"]["exact"]))
    assert [each for each, _ in groupby(tried)] == [("/p", "POST"), ("/p", "PUT"), ("/q", "POST")]


@pytest.mark.parametrize(
    ("spec", "problems"),
    [
        ({"routes": []}, {("spec.routes", "routes_missing")}),
        (
            {"model": {"name": "m", "protocol": "openai"}},
            {("spec.routes", "routes_fixed")},
        ),
        (
            {"routes": [{"path": "/p"}, {"path": "/p", "method": "GET"}, {"path": "/p"}]},
            {("spec.routes[2]", "route_twice")},
        ),
        (
            {"listener": {"tls": "none", "port": 8000}, "limits": {"body": {"max": "4096MiB"}}},
            {("spec.listener.port", "port_taken"), ("spec.limits.body.max", "too_large")},
        ),
        (
            {
                "model": {
                    "name": "m",
                    "protocol": "json_fields",
                    "credential": {"secret": "k", "header": "host"},
                }
            },
            {("spec.model.credential.header", "header_unfit")},
        ),
    ],
)
def test_parts_that_do_not_fit_are_all_named_with_their_path(
    spec: dict[str, Any], problems: set[tuple[str, str]]
) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        bundle(policy(**spec))
    assert {(problem.path, problem.code) for problem in caught.value.problems} == problems


def test_this_release_supports_all_that_it_requires() -> None:
    compiled = bundle(
        policy(
            model={"name": "m", "protocol": "opaque", "credential": {"secret": "k"}},
            input=[{"check": "pii"}],
            output=[{"check": "canary", "tokens": ["canary-1"]}],
            mode="shadow",
        )
    )
    assert (
        {"check.pii", "check.canary", "format.opaque", "mode.shadow"} <= set(compiled.requires) <= SUPPORTED
    )


def test_no_secret_is_in_a_bundle_only_its_name() -> None:
    compiled = bundle(policy(model={"name": "m", "protocol": "json_fields", "credential": {"secret": "k"}}))
    assert [secret.name for secret in compiled.secrets] == ["k"]


def test_ext_authz_tells_the_guard_of_the_headers_that_it_reads_there() -> None:
    manager = bundle(policy()).envoy.listeners[0]["filter_chains"][0]["filters"][0]["typed_config"]
    (check,) = (each for each in manager["http_filters"] if each["name"].endswith("ext_authz"))
    told = check["typed_config"]["allowed_headers"]["patterns"]
    assert [each["exact"] for each in told] == list(names.CHECKED_HEADERS)


@given(st.text(alphabet="abeoprx-12", max_size=12))
def test_only_the_named_header_of_a_prefix_is_spared(rest: str) -> None:
    matches = re.fullmatch(all_but("x-bartizan-", "probe"), f"x-bartizan-{rest}") is not None
    assert matches is (rest != "probe")


@pytest.mark.parametrize(
    ("name", "stripped"),
    [
        ("x-bartizan-probe", False),
        ("x-bartizan-decision", True),
        ("x-envoy-retry-on", True),
        ("x-forwarded-for", True),
        ("x-b3-", True),
        ("x-datadog-parent-id", True),
        ("ot-tracer-sampled", True),
        ("b3", True),
        ("b3-x", False),
        ("x-envoy", False),
        ("x-b3", False),
        ("my-x-envoy-retry-on", False),
        ("x-api-key", False),
    ],
)
def test_families_of_headers_are_stripped_by_the_start_of_a_whole_name(name: str, stripped: bool) -> None:
    assert (re.fullmatch(stripped_families(), name) is not None) is stripped


def test_filters_have_distinct_names() -> None:
    assert len({entry.name for entry in FILTERS}) == len(FILTERS)
