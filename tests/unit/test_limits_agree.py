"""Limits of Envoy, compiler, wire and guard that only work together: one place says how they must stand to each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bartizan.policy import names
from bartizan.policy.defaults import BODY_MAX_CEILING
from control_plane.compile.bundle import compile_bundle
from control_plane.compile.envoy import connection_manager, route
from control_plane.compile.envoy.filters import ext_proc as ext_proc_filter
from control_plane.compile.envoy.filters.limits import BODY_IN_CHECK, CONNECTION_BUFFER, SMALL_BODY
from sidecar.agent import attempts
from sidecar.agent.bootstrap import MAX_CONNECTIONS, bootstrap
from sidecar.checks.classifier import model_files
from sidecar.checks.classifier import process as classifier
from sidecar.checks.images import decoder as image_decoder
from sidecar.checks.names import process as names_process
from sidecar.wire import engine_grpcio, engine_http2, ext_authz, ext_proc
from sidecar.wire.offload import OFFLOAD
from tests.support.compiled import policy

MIB = 1024 * 1024


def test_no_body_is_larger_than_what_comes_after_it_can_take() -> None:
    # a stranger makes Envoy hold no more with the body in the check than it reads ahead anyway
    assert BODY_IN_CHECK <= CONNECTION_BUFFER
    # what is read ahead stays below half of any limit that is enforced after ext_authz
    assert 2 * CONNECTION_BUFFER < SMALL_BODY < BODY_MAX_CEILING
    # a message holds a whole body, the headers and what protobuf adds
    spare = connection_manager.MAX_HEADERS_KB * 1024 + MIB
    for most in (engine_http2.MAX_MESSAGE, engine_grpcio.MAX_MESSAGE):
        assert most >= BODY_MAX_CEILING + spare
    assert OFFLOAD >= BODY_IN_CHECK


def test_the_listener_and_its_filters_have_these_limits() -> None:
    compiled = compile_bundle(
        policy(input=[{"check": "secrets"}]), revision=1, version=1, issued_at="2026-01-02T03:04:05Z"
    )
    (listener,) = compiled.envoy.listeners
    assert listener["per_connection_buffer_limit_bytes"] == CONNECTION_BUFFER
    assert listener["enable_reuse_port"] is False
    filters: dict[str, dict[str, Any]] = {
        entry["name"]: entry["typed_config"]
        for entry in listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    }
    check, process = filters["envoy.filters.http.ext_authz"], filters["envoy.filters.http.ext_proc"]
    assert check["with_request_body"] == {"max_request_bytes": BODY_IN_CHECK, "pack_as_bytes": True}
    assert filters["envoy.filters.http.buffer"]["max_request_bytes"] == BODY_MAX_CEILING
    for hop in (check, process):
        assert hop["status_on_error"] == {"code": "ServiceUnavailable"}
        assert "failure_mode_allow" not in hop  # false is the default
    assert {"message_timeout", "max_message_timeout"} <= process.keys()


def test_who_waits_longer_waits_for_who_waits_shorter() -> None:
    assert attempts.SECONDS < names.CHECK_SECONDS
    assert ext_authz.PATIENCE < attempts.SECONDS
    assert ext_proc_filter.MESSAGE_TIMEOUT <= ext_proc_filter.MAX_MESSAGE_TIMEOUT
    # pictures are decoded, texts classified and names looked for, or given up, before Envoy gives up
    for seconds in (image_decoder.SECONDS, classifier.KIND.seconds, names_process.KIND.seconds):
        assert seconds + ext_proc_filter.MESSAGE_TIMEOUT <= ext_proc_filter.ASKING_TIMEOUT
    for asked in (classifier, names_process):
        assert asked.KIND.seconds > model_files.READING_SECONDS
    # the guard ends an answer that is withheld no later than Envoy ends a silent one
    assert ext_proc.ANSWER_SECONDS <= route.IDLE_SECONDS
    assert names.CHECK_SECONDS < connection_manager.REQUEST_SECONDS


def test_every_admitted_connection_may_hold_a_stream_to_the_guard() -> None:
    # Envoy's default of 1,024 requests would refuse the streams of long answers beyond that with 500
    (guard,) = (
        cluster
        for cluster in bootstrap("n", Path("/run/b"), 1).static_resources.clusters
        if cluster.name == names.CLUSTER_GUARD
    )
    (limits,) = guard.circuit_breakers.thresholds
    assert limits.max_requests.value >= MAX_CONNECTIONS
    assert limits.max_pending_requests.value >= MAX_CONNECTIONS
    # each request in flight when a worker dies is asked again elsewhere
    assert limits.max_retries.value >= MAX_CONNECTIONS
    assert limits.max_connections.value * engine_http2.MAX_CALLS >= limits.max_requests.value
