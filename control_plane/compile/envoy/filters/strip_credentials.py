"""strip_credentials: a token that Envoy judged by itself does not reach the model, and its answer gets a decision id.

Before credential_injector; on the way back behind custom_response, which takes an answer with such an id for a refusal of ours.
"""

from __future__ import annotations

from bartizan.policy import names
from control_plane.compile.envoy.values import header, http_filter
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation as Mutation
from protos.gen.envoy.config.core.v3.base_pb2 import HeaderValueOption
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
    # Where the guard let it pass, its own id takes this one's place in ext_authz.
    decision = header(names.HEADER_DECISION, "%STREAM_ID%")
    decision.append_action = HeaderValueOption.ADD_IF_ABSENT
    additions = [Mutation(append=decision)]
    mutations = Mutations(request_mutations=removals, response_mutations=additions)
    return http_filter(NAME, HeaderMutation(mutations=mutations))
