"""Rules of admission about connections into running pods: exec, attach and port-forward, which go around Envoy. Pure.

A forwarded port ends on the pod's loopback, where the model listens for Envoy alone; a shell in a container asks it
there. The API server says who wants what of which pod, not what that pod is, so the rules hold for every pod of an
enforced namespace. `request` is the AdmissionReview's, `object` the options of the connection.
https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from control_plane.injector import names
from control_plane.injector.config import Config
from control_plane.injector.rule import Rule, cel_list

RESOURCES: Final = ("pods/exec", "pods/attach", "pods/portforward")
SUBRESOURCES: Final = frozenset(each.partition("/")[2] for each in RESOURCES)
_FORWARDS: Final = "request.subResource == 'portforward'"
_ENTERS: Final = "request.subResource in ['exec', 'attach']"


def connection_variables(config: Config) -> Mapping[str, str]:
    """Name -> expression."""
    groups = cel_list(config.connections.break_glass_groups)
    return {
        "breakGlass": "has(request.userInfo.groups) &&"
        f" request.userInfo.groups.exists(group, group in {groups})",
        "into": "has(object.container) ? object.container : ''",
    }


def no_break_glass(config: Config) -> str:
    """True for who is in none of the groups: the API server asks the webhook about nobody else, so that a dead webhook
    never stands between an incident and those who mend it.
    """
    return f"!({connection_variables(config)['breakGlass']})"


def refused_connections(config: Config) -> tuple[Rule, ...]:
    """Broken by what is refused."""
    found = [
        Rule(
            code="sidecar_entered",
            path="container",
            message="a shell in the sidecar reads its keys, its policy and the traffic",
            hint="ask its health port for /status; break-glass groups may",
            expression=f"variables.breakGlass || !({_ENTERS}) ||"
            f" !(variables.into in {cel_list((names.SIDECAR, names.CAPTURE_INIT))})",
        )
    ]
    if config.connections.port_forward == "deny":
        found.append(
            Rule(
                code="port_forward",
                path="pods/portforward",
                message="a forwarded port reaches the model on the pod's loopback, around the guard",
                hint="use the model's Service with a key; break-glass groups may",
                expression=f"variables.breakGlass || !({_FORWARDS})",
            )
        )
    if config.connections.exec == "deny":
        found.append(
            Rule(
                code="exec",
                path="pods/exec",
                message="a shell in a pod reaches the model on its loopback, around the guard",
                hint="debug a copy of the pod (kubectl debug --copy-to); break-glass groups may",
                expression=f"variables.breakGlass || !({_ENTERS})",
            )
        )
    return tuple(found)


def watched_connections(config: Config) -> tuple[Rule, ...]:
    """Broken by what is let through, but told to who does it and to the API server's audit log."""
    return tuple(_watched(config))


def _watched(config: Config) -> Iterator[Rule]:
    if config.connections.exec == "audit":
        yield _watch(
            "exec_recorded",
            "pods/exec",
            "this reaches the model around its guard, and is on record",
            f"!({_ENTERS})",
        )
    if config.connections.port_forward == "audit":
        yield _watch(
            "port_forward_recorded",
            "pods/portforward",
            "this reaches the model around its guard, and is on record",
            f"!({_FORWARDS})",
        )
    if config.connections.break_glass_groups:
        yield _watch(
            "break_glass",
            "userInfo.groups",
            "let in as a member of a break-glass group, and on record",
            "!variables.breakGlass",
        )


def _watch(code: str, path: str, message: str, expression: str) -> Rule:
    return Rule(
        code=code, path=path, message=message, hint="nothing to mend", expression=expression, severity="low"
    )
