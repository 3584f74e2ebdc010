"""What only the compiler can find wrong: parts of a valid policy that don't fit together.

Problems are collected, never raised one by one; compile_bundle raises PolicyInvalid with all of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET

from bartizan.errors import PolicyInvalid, Problem
from bartizan.policy.defaults import BODY_MAX_CEILING
from bartizan.policy.protocols import PROTOCOLS
from bartizan.policy.quantities import parse_bytes
from bartizan.policy.schema import ModelPolicy


def check(policy: ModelPolicy) -> None:
    """Raises PolicyInvalid with every problem that keeps this policy from being compiled."""
    problems = [*_routes(policy), *_listener(policy), *_body(policy), *_credential(policy)]
    if problems:
        raise PolicyInvalid(f"policy {policy.qualified_name} can't be compiled", problems)


def _routes(policy: ModelPolicy) -> Iterator[Problem]:
    spec = policy.spec
    if PROTOCOLS[spec.model.protocol].routes == "fixed":
        if spec.routes:
            yield Problem(
                path="spec.routes",
                code="routes_fixed",
                message=f"protocol {spec.model.protocol} brings its own routes",
                hint="remove routes",
            )
        return
    if not spec.routes and PROTOCOLS[spec.model.protocol].routes == "required":
        yield Problem(
            path="spec.routes",
            code="routes_missing",
            message=f"protocol {spec.model.protocol} serves only the routes that are named",
            hint="add the model's paths",
        )
    seen: set[tuple[str, str]] = set()
    for index, route in enumerate(spec.routes):
        if (route.method, route.path) in seen:
            yield Problem(
                path=f"spec.routes[{index}]",
                code="route_twice",
                message=f"{route.method} {route.path} is named twice",
            )
        seen.add((route.method, route.path))


def _listener(policy: ModelPolicy) -> Iterator[Problem]:
    if policy.spec.listener.port == policy.spec.model.port:
        yield Problem(
            path="spec.listener.port",
            code="port_taken",
            message="listener and model have the same port",
            hint="the model keeps its port on loopback, clients get another one",
        )


def _body(policy: ModelPolicy) -> Iterator[Problem]:
    if parse_bytes(policy.spec.limits.body.max) > BODY_MAX_CEILING:
        yield Problem(
            path="spec.limits.body.max",
            code="too_large",
            message="bodies are held in memory while they are checked; 64MiB is the most",
        )


_UNFIT = frozenset({"host", "connection", "content-length", "transfer-encoding", "te", "upgrade"})


def _credential(policy: ModelPolicy) -> Iterator[Problem]:
    credential = policy.spec.model.credential
    if credential is not UNSET and credential.header in _UNFIT:
        yield Problem(
            path="spec.model.credential.header",
            code="header_unfit",
            message=f"{credential.header} steers the connection and can't carry a credential",
        )
