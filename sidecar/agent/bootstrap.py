"""Envoy's bootstrap: what only this sidecar knows (sockets, sizes), so that everything else comes from the bundle.

Pure. The agent writes the JSON to its run folder and starts Envoy with `envoy_command`; listener, routes and the
model's cluster then come over ADS, secrets over SDS, both from the agent's xds.sock.
"""

from __future__ import annotations

from pathlib import Path

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from bartizan.errors import InvalidInput
from bartizan.policy import names
from bartizan.xds.resources import packed
from protos.gen.envoy.config.bootstrap.v3.bootstrap_pb2 import Admin, Bootstrap, LayeredRuntime, RuntimeLayer
from protos.gen.envoy.config.core.v3.address_pb2 import Address, Pipe
from protos.gen.envoy.config.core.v3.backoff_pb2 import BackoffStrategy
from protos.gen.envoy.config.core.v3.base_pb2 import Node, RetryPolicy
from protos.gen.envoy.config.core.v3.config_source_pb2 import (
    AggregatedConfigSource,
    ApiConfigSource,
    ApiVersion,
    ConfigSource,
)
from protos.gen.envoy.config.core.v3.grpc_service_pb2 import GrpcService
from protos.gen.envoy.config.metrics.v3.stats_pb2 import StatsConfig, StatsMatcher
from protos.gen.envoy.config.overload.v3.overload_pb2 import (
    OverloadAction,
    OverloadManager,
    ResourceMonitor,
    ThresholdTrigger,
    Trigger,
)
from protos.gen.envoy.extensions.resource_monitors.downstream_connections.v3.downstream_connections_pb2 import (
    DownstreamConnectionsConfig,
)
from protos.gen.envoy.extensions.resource_monitors.fixed_heap.v3.fixed_heap_pb2 import FixedHeapConfig
from protos.gen.envoy.type.matcher.v3.string_pb2 import ListStringMatcher, StringMatcher
from sidecar.agent.egress import egress_cluster, egress_listener
from sidecar.agent.guard_cluster import guard_cluster, local_cluster, seconds

XDS_SOCKET = "xds.sock"
ALS_SOCKET = "als.sock"
OTLP_SOCKET = "otlp.sock"
ADMIN_SOCKET = "admin.sock"

MAX_CONNECTIONS = 10_000
MAX_HEAP_BYTES = 512 * 1024 * 1024

_SOCKET_PATH_MAX = 107  # sun_path of Linux without its final zero
_STATS = (
    *("http.bartizan.", "cluster.", "listener.", "listener_manager.", "server.", "sds.", "overload."),
    "access_logs.",
)
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def guard_socket(worker: int) -> str:
    """The file name of a worker's socket in the run folder."""
    return f"guard-{worker}.sock"


def bootstrap(
    node_id: str,
    run_dir: Path,
    workers: int,
    *,
    max_connections: int = MAX_CONNECTIONS,
    max_heap_bytes: int = MAX_HEAP_BYTES,
    egress_names: tuple[str, ...] = (),
) -> Bootstrap:
    """Envoy's start configuration; egress_names open the way out of the pod to them. Raises InvalidInput when run_dir is too long for unix sockets."""
    if workers < 1:
        raise InvalidInput(
            "an Envoy without a guard worker would refuse everything: workers must be at least 1"
        )
    sockets = [XDS_SOCKET, ALS_SOCKET, OTLP_SOCKET, ADMIN_SOCKET, *(guard_socket(n) for n in range(workers))]
    for name in sockets:
        if len(str(run_dir / name).encode()) > _SOCKET_PATH_MAX:
            raise InvalidInput(f"run folder too long for unix sockets ({_SOCKET_PATH_MAX} bytes): {run_dir}")
    result = Bootstrap(
        node=Node(id=node_id, cluster="bartizan"),
        admin=Admin(address=_pipe(run_dir / ADMIN_SOCKET, mode=0o600)),
        dynamic_resources=Bootstrap.DynamicResources(
            ads_config=_ads(), lds_config=_over_ads(), cds_config=_over_ads()
        ),
        layered_runtime=LayeredRuntime(layers=[RuntimeLayer(name="bartizan", static_layer=_runtime())]),
        overload_manager=_overload(max_connections, max_heap_bytes),
        stats_config=StatsConfig(
            stats_matcher=StatsMatcher(
                inclusion_list=ListStringMatcher(patterns=[StringMatcher(prefix=prefix) for prefix in _STATS])
            )
        ),
        application_log_config=_json_logs(),
    )
    result.static_resources.clusters.extend(
        [
            local_cluster(names.CLUSTER_XDS, [run_dir / XDS_SOCKET]),
            guard_cluster([run_dir / guard_socket(worker) for worker in range(workers)]),
            local_cluster(names.CLUSTER_ALS, [run_dir / ALS_SOCKET]),
            local_cluster(names.CLUSTER_OTLP, [run_dir / OTLP_SOCKET]),
        ]
    )
    if egress_names:
        result.static_resources.listeners.append(egress_listener(egress_names))
        result.static_resources.clusters.append(egress_cluster())
    return result


def bootstrap_json(message: Bootstrap) -> str:
    """The bootstrap as the text that Envoy reads."""
    text: str = json_format.MessageToJson(message, preserving_proto_field_name=True, sort_keys=True)
    return text


def envoy_command(
    binary: Path, config: Path, *, concurrency: int = 1, drain_seconds: int = 60, log_level: str = "warning"
) -> list[str]:
    """Envoy's command line. drain_seconds bounds how long streams of a replaced filter chain may run on."""
    return [
        str(binary),
        "--config-path",
        str(config),
        "--concurrency",
        str(concurrency),
        "--drain-time-s",
        str(drain_seconds),
        "--disable-hot-restart",
        "--log-level",
        log_level,
    ]


def _ads() -> ApiConfigSource:
    # The agent is a local process: when it restarts, Envoy should be back with it at once.
    back_off = BackoffStrategy(base_interval=seconds(0.01), max_interval=seconds(0.1))
    return ApiConfigSource(
        api_type=ApiConfigSource.GRPC,
        transport_api_version=ApiVersion.V3,
        set_node_on_first_message_only=True,
        grpc_services=[
            GrpcService(
                envoy_grpc=GrpcService.EnvoyGrpc(
                    cluster_name=names.CLUSTER_XDS, retry_policy=RetryPolicy(retry_back_off=back_off)
                )
            )
        ],
    )


def _over_ads() -> ConfigSource:
    # Without a fetch limit: Envoy is not ready before the agent has said what to serve.
    return ConfigSource(
        ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3, initial_fetch_timeout=seconds(0)
    )


def _overload(max_connections: int, max_heap_bytes: int) -> OverloadManager:
    """Connections are counted, memory is bounded: first idle memory is given back, then new requests get 503."""
    heap = "envoy.resource_monitors.fixed_heap"
    return OverloadManager(
        refresh_interval=seconds(0.25),
        resource_monitors=[
            _monitor(heap, FixedHeapConfig(max_heap_size_bytes=max_heap_bytes)),
            _monitor(
                "envoy.resource_monitors.global_downstream_max_connections",
                DownstreamConnectionsConfig(max_active_downstream_connections=max_connections),
            ),
        ],
        actions=[
            _action("envoy.overload_actions.shrink_heap", heap, 0.90),
            _action("envoy.overload_actions.disable_http_keepalive", heap, 0.92),
            _action("envoy.overload_actions.stop_accepting_requests", heap, 0.95),
        ],
    )


def _monitor(name: str, config: Message) -> ResourceMonitor:
    return ResourceMonitor(name=name, typed_config=packed(config))


def _action(name: str, resource: str, share: float) -> OverloadAction:
    return OverloadAction(
        name=name, triggers=[Trigger(name=resource, threshold=ThresholdTrigger(value=share))]
    )


def _runtime() -> Struct:
    """Spans leave within half a second also when few come."""
    values = Struct()
    values.update({"tracing": {"opentelemetry": {"flush_interval_ms": 500, "min_flush_spans": 128}}})
    return values


def _json_logs() -> Bootstrap.ApplicationLogConfig:
    line = Struct()
    line.update({"time": "%Y-%m-%dT%T.%eZ", "level": "%l", "logger": "envoy.%n", "message": "%j"})
    log_format = Bootstrap.ApplicationLogConfig.LogFormat(json_format=line)
    return Bootstrap.ApplicationLogConfig(log_format=log_format)


def _pipe(path: Path, mode: int = 0) -> Address:
    return Address(pipe=Pipe(path=str(path), mode=mode))
