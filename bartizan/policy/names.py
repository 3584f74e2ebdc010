"""Names on which compiled Envoy resources, the agent's bootstrap and the guard must agree.

The compiler (control plane) writes them into bundles, the agent gives them meaning in Envoy's bootstrap, the guard
reads them from Envoy's messages. Changing one is a change of the bundle's schema version.
"""

from __future__ import annotations

# Clusters. All but MODEL stand in the agent's bootstrap, because only the agent knows its sockets.
CLUSTER_XDS = "bartizan-xds"
CLUSTER_GUARD = "bartizan-guard"
CLUSTER_ALS = "bartizan-als"
CLUSTER_OTLP = "bartizan-otlp"
CLUSTER_MODEL = "model"

LISTENER = "bartizan"
ROUTES = "bartizan"


def ingress_span(route: str) -> str:
    """What Envoy's span over a whole request is called, whoever makes it."""
    return f"ingress {route}"


# Headers
HEADER_DECISION = "x-bartizan-decision"
RECORD_ENVOY, RECORD_HEAD = "-e", "-a"
"""A decision's further audit records have its id with one of these at its end: Envoy refused what the guard had let
pass; shadow mode let pass what the head's checks would have refused, and the exchange has its record too."""
HEADER_PROBE = "x-bartizan-probe"
HEADER_PROOF = "x-bartizan-proof"
HEADER_PREFIX = "x-bartizan-"
CHECKED_HEADERS = (
    *("x-api-key", "authorization", "content-type", "content-length", "x-request-id"),
    *("content-encoding", HEADER_PROBE),
)
"""All of a request's headers that the guard reads in ext_authz, and so all that it is told there. ext_proc tells it all."""

# ext_authz writes its result here (Envoy always uses the filter's canonical name); ext_proc receives it.
AUTHZ_METADATA = "envoy.filters.http.ext_authz"
# Route metadata and ext_authz context extension: the plan id.
ROUTE_METADATA = "bartizan"
REVISION = "revision"
PROC_REVISION_ATTRIBUTE = "xds.route_metadata.filter_metadata['bartizan']['revision']"
# ext_authz context extension: "1" on routes that also go through ext_proc.
CONTENT = "content"
# ext_authz context extension: "1" on routes where the check gets the whole body and says everything there is to say.
BODY = "body"

# ext_authz context extension: of 10,000 requests so many are traced, where Envoy has no tracer; and in the guard's
# answer, that this one is.
TRACE = "trace"
TRACE_STEPS = 10_000
TRACED = "traced"
# In the same answer: what the guard knows of the request, for ext_proc and for records of what Envoy does then.
HANDED = "handed"
# Tags of an access log entry, beside REVISION: the id that Envoy's tracer gave, and microseconds of the guard's call.
TAG_TRACE = "trace_id"
TAG_WAIT = "check_us"

# Envoy gives a check this long, waiting in the guard's queue and a second attempt included; the guard reads from what
# is left of it how long a call has waited.
CHECK_SECONDS = 2.0

# What Envoy's jwt_authn found in a token it verified, and what the compiled rule says of it: only "allowed" is let in
# without the guard.
JWT_METADATA = "envoy.filters.http.jwt_authn"
TOKEN_METADATA = "envoy.filters.http.rbac"
TOKEN_PREFIX = "bartizan_token_"
TOKEN_RESULT = f"{TOKEN_PREFIX}shadow_engine_result"
TOKEN_ALLOWED = "allowed"

TYPE_BUNDLE = "type.googleapis.com/bartizan.policy.v1.SignedBundle"
TYPE_KEY_SET = "type.googleapis.com/bartizan.identity.v1.KeySet"
TYPE_SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
TYPE_LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
TYPE_ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
TYPE_EXTENSION = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
TYPE_CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
TYPE_ENDPOINTS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
