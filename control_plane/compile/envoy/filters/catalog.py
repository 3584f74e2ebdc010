"""The HTTP filters in the order of a request's way. A new filter is one file here and one line in FILTERS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import Message

from control_plane.compile.envoy.filters import (
    buffer,
    credential_injector,
    custom_response,
    decompressor,
    early_buffer,
    ext_authz,
    ext_proc,
    jwt_authn,
    native_token,
    rbac,
    router,
    strip_credentials,
)
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One filter of the chain. `build` gives None when the policy does not need it."""

    name: str
    build: Callable[[Resolved], HttpFilter | None]
    per_route: Callable[[Resolved], Message] | None = None
    """Its configuration on routes that are served."""
    everywhere: bool = False
    """Whether it also runs on the last route, which only says 404."""
    with_body: Callable[[Resolved], Message] | None = None
    """Its configuration on routes where ext_authz gets the body."""
    for_bodies: bool = False
    """Whether it is there for bodies on their way to ext_proc only: off where ext_authz gets the body."""
    for_content: bool = False
    """Whether it serves the content hop only."""
    on_probe: bool = True
    """Whether it also runs on the probe's route."""


FILTERS: tuple[Filter, ...] = (
    Filter(name=rbac.NAME, build=rbac.build, everywhere=True),
    Filter(name=jwt_authn.NAME, build=jwt_authn.build, on_probe=False),
    Filter(
        name=native_token.NAME, build=native_token.build, per_route=native_token.per_route, on_probe=False
    ),
    Filter(
        name=early_buffer.NAME, build=early_buffer.build, per_route=early_buffer.per_route, for_bodies=True
    ),
    Filter(
        name=ext_authz.NAME,
        build=ext_authz.build,
        per_route=ext_authz.per_route,
        with_body=ext_authz.with_body,
    ),
    Filter(name=decompressor.NAME, build=decompressor.build, for_bodies=True, for_content=True),
    Filter(name=buffer.NAME, build=buffer.build, per_route=buffer.per_route, for_bodies=True),
    Filter(name=ext_proc.NAME, build=ext_proc.build, for_bodies=True, for_content=True),
    Filter(name=strip_credentials.NAME, build=strip_credentials.build),
    Filter(name=credential_injector.NAME, build=credential_injector.build, on_probe=False),
    Filter(name=custom_response.NAME, build=custom_response.build),
    Filter(name=router.NAME, build=router.build, everywhere=True),
)


def in_use(resolved: Resolved) -> tuple[tuple[Filter, HttpFilter], ...]:
    """The filters that this policy needs, in order, with their configuration."""
    built = ((entry, entry.build(resolved)) for entry in FILTERS)
    return tuple((entry, config) for entry, config in built if config is not None)
