"""Envoy on a static file, without agent or guard: the base rows, and peers that speak ext_authz."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bartizan.local.binaries import find_binary
from bartizan.policy.bundle import Bundle
from benchmarks.cases import Case
from sidecar.agent.bootstrap import bootstrap, bootstrap_json

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_EXT_AUTHZ = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"


def filters_of(bundle: Bundle) -> set[str]:
    """Names of the HTTP filters of a compiled policy."""
    manager = bundle.envoy.listeners[0]["filter_chains"][0]["filters"][0]["typed_config"]
    return {each["name"] for each in manager["http_filters"]}


def configuration(case: Case, bundle: Bundle, folder: Path, peer_port: int) -> Path:
    """The compiled chain with only `case.filters` and the router, and the peer's ext_authz before it."""
    config: dict[str, Any] = json.loads(bootstrap_json(bootstrap("bench", folder, 1)))
    config.pop("dynamic_resources")
    listener = {name: value for name, value in bundle.envoy.listeners[0].items() if name != "@type"}
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    for name in ("rds", "tracing", "access_log") if not case.filters else ("rds",):
        manager.pop(name, None)
    kept = {*case.filters, "envoy.filters.http.router"}
    manager["http_filters"] = [each for each in manager["http_filters"] if each["name"] in kept]
    routes = json.loads(json.dumps(bundle.envoy.routes[0]))
    routes.pop("@type")
    for host in routes["virtual_hosts"]:
        for route in host["routes"]:
            route.pop("typed_per_filter_config", None)
    manager["route_config"] = routes
    config["static_resources"]["listeners"] = [listener]
    config["static_resources"]["clusters"] += [
        {name: value for name, value in cluster.items() if name != "@type"}
        for cluster in bundle.envoy.clusters
    ]
    if case.front in {"grpc", "http"}:
        manager["http_filters"].insert(0, _ext_authz(case, peer_port))
        config["static_resources"]["clusters"].append(_cluster(case.front, peer_port))
    file = folder / "envoy.json"
    file.write_text(json.dumps(config))
    return file


def command(file: Path) -> list[str]:
    """One worker thread, as the sidecar's Envoy has."""
    envoy = str(find_binary("envoy"))
    return [envoy, "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


def _ext_authz(case: Case, port: int) -> dict[str, Any]:
    config: dict[str, Any] = {
        "@type": _EXT_AUTHZ,
        "transport_api_version": "V3",
        "status_on_error": {"code": "ServiceUnavailable"},
    }
    if case.body:
        config["with_request_body"] = {"max_request_bytes": 4 * 1024 * 1024, "pack_as_bytes": True}
    if case.front == "grpc":
        config["grpc_service"] = {"envoy_grpc": {"cluster_name": "peer"}, "timeout": "2s"}
    else:
        uri = {"uri": f"http://127.0.0.1:{port}", "cluster": "peer", "timeout": "2s"}
        allowed = {"patterns": [{"exact": "x-api-key"}, {"exact": "content-type"}]}
        config |= {"http_service": {"server_uri": uri}, "allowed_headers": allowed}
    return {"name": "envoy.filters.http.ext_authz", "typed_config": config}


def _cluster(kind: str, port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoint = {"lb_endpoints": [{"endpoint": {"address": address}}]}
    protocol = "http2_protocol_options" if kind == "grpc" else "http_protocol_options"
    return {
        "name": "peer",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "peer", "endpoints": [endpoint]},
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
                "explicit_http_config": {protocol: {}},
            }
        },
    }
