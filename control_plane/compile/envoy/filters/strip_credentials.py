"""strip_credentials: a token that Envoy judged by itself does not reach the model. Before credential_injector."""

from __future__ import annotations

from control_plane.compile.envoy.values import http_filter
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation as Mutation
from protos.gen.envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import (
    HeaderMutation,
    Mutations,
)
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)

NAME = "bartizan.strip_credentials"
CREDENTIALS = ("authorization", "x-api-key")


def build(resolved: Resolved) -> HttpFilter | None:
    """Where requests pass without the guard, whose reply else removes them."""
    if not resolved.native_tokens:
        return None
    removals = [Mutation(remove=name) for name in CREDENTIALS]
    return http_filter(NAME, HeaderMutation(mutations=Mutations(request_mutations=removals)))
