"""credential_injector: the provider's key, put in after all checks, so that neither client nor guard ever has it."""

from __future__ import annotations

from control_plane.compile.envoy.secret import from_agent
from control_plane.compile.envoy.values import extension, http_filter
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.extensions.filters.http.credential_injector.v3.credential_injector_pb2 import (
    CredentialInjector,
)
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)
from protos.gen.envoy.extensions.http.injected_credentials.generic.v3.generic_pb2 import Generic

NAME = "envoy.filters.http.credential_injector"


def build(resolved: Resolved) -> HttpFilter | None:
    """Where the policy names a credential. The secret holds the whole header value, the policy's prefix included."""
    credential = resolved.credential
    if credential is None:
        return None
    generic = Generic(credential=from_agent(credential.secret), header=credential.header)
    return http_filter(
        NAME,
        CredentialInjector(
            overwrite=True,
            allow_request_without_credential=False,
            credential=extension("envoy.http.injected_credentials.generic", generic),
        ),
    )
