"""Who may connect into a pod of an enforced namespace: by what is asked for, into which container, and by whom."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from control_plane.injector import names
from control_plane.injector.admission_policy import CONNECTIONS, WATCHED, admission_policy
from control_plane.injector.admit import admit_connection
from control_plane.injector.config import Config, read_config
from control_plane.injector.connections import (
    connection_variables,
    refused_connections,
    watched_connections,
)
from control_plane.injector.judge import Judge
from control_plane.injector.review import Request, User
from control_plane.injector.webhook_configuration import webhook_configurations
from tests.support.pod_cases import IMAGE

BREAK_GLASS = "sre:on-call's"


def config(text: str = "") -> Config:
    return read_config(f"image: {IMAGE}\n{text}")


DEFAULT = config()
OPEN = config("connections: {exec: allow, portForward: allow}")
WATCHING = config("connections: {exec: audit, portForward: audit}")
CLOSED = config(f'connections: {{exec: deny, portForward: deny, breakGlassGroups: ["{BREAK_GLASS}"]}}')


def judged(
    given: Config, what: str, container: str | None = None, groups: tuple[str, ...] = ()
) -> tuple[list[str], int]:
    """Codes of what is refused, and how many warnings."""
    options: dict[str, Any] = {"kind": "PodExecOptions", **({"container": container} if container else {})}
    request = Request(
        uid="u",
        operation="CONNECT",
        namespace="prod",
        name="chat-0",
        sub_resource=what,
        user_info=User(username="somebody", groups=list(groups)),
        object=options,
    )
    named = connection_variables(given)
    refused, watched = Judge(refused_connections(given), named), Judge(watched_connections(given), named)
    admission = admit_connection(request, given, refused, watched)
    return [each.code for each in admission.problems], len(admission.warnings)


@pytest.mark.parametrize(
    ("given", "what", "container", "refused", "warnings"),
    [
        (DEFAULT, "portforward", None, ["port_forward"], 0),
        (DEFAULT, "exec", "model", [], 1),
        (DEFAULT, "exec", None, [], 1),
        (DEFAULT, "attach", "model", [], 1),
        (DEFAULT, "exec", names.SIDECAR, ["sidecar_entered"], 1),
        (DEFAULT, "attach", names.SIDECAR, ["sidecar_entered"], 1),
        (DEFAULT, "exec", names.CAPTURE_INIT, ["sidecar_entered"], 1),
        (CLOSED, "exec", "model", ["exec"], 0),
        (CLOSED, "exec", names.SIDECAR, ["sidecar_entered", "exec"], 0),
        (CLOSED, "portforward", None, ["port_forward"], 0),
        (WATCHING, "portforward", None, [], 1),
        (OPEN, "portforward", None, [], 0),
        (OPEN, "exec", "model", [], 0),
        (OPEN, "exec", names.SIDECAR, ["sidecar_entered"], 0),
    ],
)
def test_a_connection_is_refused_or_told_as_the_settings_say(
    given: Config, what: str, container: str | None, refused: list[str], warnings: int
) -> None:
    assert judged(given, what, container) == (refused, warnings)


@pytest.mark.parametrize("container", [names.SIDECAR, "model"])
@pytest.mark.parametrize("what", ["exec", "attach", "portforward"])
def test_break_glass_groups_are_let_in_and_others_are_not(what: str, container: str) -> None:
    assert judged(CLOSED, what, container, ("a", BREAK_GLASS)) == ([], 1)
    assert judged(CLOSED, what, container, ("a", "sre"))[0]
    assert judged(DEFAULT, what, names.SIDECAR, (BREAK_GLASS,))[0], "no such group is configured"


def test_exempt_namespaces_are_left_alone() -> None:
    request = Request(uid="u", operation="CONNECT", namespace="kube-system", sub_resource="portforward")
    refused = Judge(refused_connections(DEFAULT), connection_variables(DEFAULT))
    assert not admit_connection(request, DEFAULT, refused, Judge((), {})).problems


def test_the_api_server_judges_by_the_same_text_and_asks_no_webhook_about_who_may_break_the_glass() -> None:
    made = {
        each["metadata"]["name"]: each for each in admission_policy(CLOSED) if "validations" in each["spec"]
    }
    assert [each["expression"] for each in made[CONNECTIONS]["spec"]["validations"]] == [
        rule.expression for rule in refused_connections(CLOSED)
    ]
    for name in (CONNECTIONS, WATCHED):
        (rule,) = made[name]["spec"]["matchConstraints"]["resourceRules"]
        assert rule["operations"] == ["CONNECT"]
        assert set(rule["resources"]) == {"pods/exec", "pods/attach", "pods/portforward"}
    _, validating = webhook_configurations(CLOSED, "bartizan-system")
    (webhook,) = [each for each in validating["webhooks"] if each["name"] == "connections.bartizan.dev"]
    (condition,) = webhook["matchConditions"]
    assert "sre:on-call\\'s" in condition["expression"]
    assert webhook["failurePolicy"] == "Fail"


def test_with_nothing_to_record_there_is_no_policy_that_records() -> None:
    open_too = msgspec.structs.replace(OPEN)
    assert WATCHED not in {each["metadata"]["name"] for each in admission_policy(open_too)}
