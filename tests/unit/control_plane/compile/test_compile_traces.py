"""Who traces by a compiled policy: the guard, or Envoy where it lets requests in by itself."""

from __future__ import annotations

import pytest

from tests.support.compiled import bundle, policy


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(("share", "steps"), [(0, 0), (0.000001, 1), (0.0001, 1), (0.3, 3000), (1, 10_000)])
def test_envoy_traces_where_it_lets_requests_in_by_itself_and_elsewhere_the_guard_draws(
    share: float, steps: int, native: bool
) -> None:
    jwt = {
        "issuer": "https://i.example",
        "audiences": ["a"],
        "jwksUri": "https://i.example/keys",
        "claims": {"tenant": "org", "subject": "sub"},
    }
    authn = {"jwt": [jwt]} if native else {"apiKeys": {"set": "k"}}
    compiled = bundle(policy(telemetry={"traceSample": share}, authn=authn))
    manager = compiled.envoy.listeners[0]["filter_chains"][0]["filters"][0]["typed_config"]
    routes = compiled.envoy.routes[0]["virtual_hosts"][0]["routes"]
    (served,) = (route for route in routes if route["name"] == "POST /p")
    filters = served["typed_per_filter_config"]
    context = filters["envoy.filters.http.ext_authz"]["check_settings"]["context_extensions"]
    assert ("hop.nativeTokens" in compiled.requires) is native
    if native and steps:
        assert served["tracing"]["random_sampling"] == {"numerator": steps, "denominator": "TEN_THOUSAND"}
        assert "tracing" in manager
        assert "trace" not in context
    else:
        assert context.get("trace", "0") == str(steps)
        assert "tracing" not in manager
        assert "tracing" not in served


def test_another_share_changes_routes_only() -> None:
    one, other = (bundle(policy(telemetry={"traceSample": share})) for share in (0, 1))
    assert one.envoy.listeners == other.envoy.listeners
    assert one.envoy.routes != other.envoy.routes
