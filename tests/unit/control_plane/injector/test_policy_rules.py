"""A ModelPolicy of an enforced namespace asks for authentication, limits and content checks; who takes one away is told."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.injector import names
from control_plane.injector.admission_policy import POLICIES, admission_policy
from control_plane.injector.admit import Admission, admit_policy
from control_plane.injector.config import Config, read_config
from control_plane.injector.policy_rules import POLICY_RULES, left_alone
from control_plane.injector.review import Request
from tests.support.pod_cases import IMAGE
from tests.support.webhook_stand import policy

Document = dict[str, Any]
CONFIG = read_config(f"image: {IMAGE}")
STRICT = read_config(f"image: {IMAGE}\npodsWithoutPolicy: deny")
OFF = read_config(f"image: {IMAGE}\nrequirePolicy: false")


def document(**spec: Any) -> Document:
    """As the API server has it; None takes a part out."""
    whole = {
        "selector": {"matchLabels": {"app": "chat"}},
        "authn": {"apiKeys": {"set": "chat"}},
        "limits": {"requests": [{"per": "key", "rate": "1/s"}]},
        "input": [{"pii": {}}],
        **spec,
    }
    return {
        "metadata": {"name": "chat", "namespace": "prod"},
        "spec": {name: value for name, value in whole.items() if value is not None},
    }


def pod(name: str = "chat-0", **metadata: Any) -> Document:
    labels = {"app": "chat", names.GUARDED: "true"}
    return {"metadata": {"name": name, "labels": labels, **metadata}}


def judged(
    new: object, old: object = None, config: Config = CONFIG, others: Any = (), pods: Any = (), by: str = ""
) -> Admission:
    operation = by or ("UPDATE" if old is not None else "CREATE")
    request = Request(uid="u", operation=operation, namespace="prod", name="chat", object=new, old_object=old)
    return admit_policy(request, config, others, pods)


def codes(admission: Admission) -> list[str]:
    return [each.code for each in admission.problems]


WEAK: dict[str, tuple[Document, list[str]]] = {
    "no authentication": (document(authn={}), ["policy_without_authentication"]),
    "no token issuer": (document(authn={"jwt": []}), ["policy_without_authentication"]),
    "no limits": (document(limits=None), ["policy_without_limits"]),
    "an empty list of limits": (document(limits={"requests": []}), ["policy_without_limits"]),
    "another limit than a rate": (document(limits={"body": {"max": "1MiB"}}), ["policy_without_limits"]),
    "no content checks": (document(input=None), ["policy_without_content_checks"]),
    "empty lists of checks": (document(input=[], output=[]), ["policy_without_content_checks"]),
    "nothing": ({"spec": {}}, [rule.code for rule in POLICY_RULES]),
}


@pytest.mark.parametrize("case", WEAK)
@pytest.mark.parametrize("old", [None, document()], ids=["created", "changed"])
def test_a_weak_policy_is_refused_when_it_is_made_and_when_it_becomes_weak(case: str, old: object) -> None:
    weak, expected = WEAK[case]
    assert codes(judged(weak, old)) == expected
    assert codes(judged(weak, old, OFF)) == []


def test_every_rule_is_broken_by_some_policy() -> None:
    assert {code for _, codes in WEAK.values() for code in codes} == {rule.code for rule in POLICY_RULES}


@pytest.mark.parametrize(
    "good", [document(), document(authn={"jwt": [{}]}), document(input=None, output=[{"canary": {}}])]
)
def test_what_asks_for_all_three_is_admitted(good: Document) -> None:
    assert judged(good) == Admission()


def test_shadow_mode_is_admitted_and_told() -> None:
    assert "shadow" in judged(document(mode="shadow")).warnings[0]


CHANGES: dict[str, tuple[object, Any, list[Document], list[str]]] = {
    "deleted under a pod": (None, (), [pod()], ["chat-0"]),
    "deleted under two": (None, (), [pod("chat-1"), pod()], ["chat-0", "chat-1"]),
    "deleted without pods": (None, (), [], []),
    "deleted while the pod ends": (None, (), [pod(deletionTimestamp="2026-01-01T00:00:00Z")], []),
    "deleted under a pod without a sidecar": (None, (), [pod(labels={"app": "chat"})], []),
    "deleted under another's pod": (None, (), [pod(labels={"app": "x", names.GUARDED: "true"})], []),
    "another policy has the pod": (None, [policy(selector={"matchLabels": {"app": "chat"}})], [pod()], []),
    "led away": (document(selector={"matchLabels": {"app": "other"}}), (), [pod()], ["chat-0"]),
    "narrowed": (document(selector={"matchLabels": {"app": "chat", "x": "y"}}), (), [pod()], ["chat-0"]),
    "changed elsewhere": (document(tenants=["a"]), (), [pod()], []),
}


@pytest.mark.parametrize("case", CHANGES)
def test_pods_that_a_change_leaves_without_a_policy_are_named(case: str) -> None:
    new, others, pods, expected = CHANGES[case]
    assert left_alone(document(), new, others, pods) == expected
    by = "DELETE" if new is None else "UPDATE"
    warned = judged(new, document(), others=others, pods=pods, by=by)
    assert codes(warned) == []
    assert bool(warned.warnings) is bool(expected)
    assert all(name in warned.warnings[0] for name in expected)
    refused = judged(new, document(), STRICT, others, pods, by)
    assert codes(refused) == (["pods_without_policy"] if expected else [])


@pytest.mark.parametrize("strange", [None, 3, [], {}, {"spec": []}, {"spec": {"selector": 1}}])
def test_what_can_hardly_be_a_policy_is_never_admitted_and_never_a_fault(strange: Any) -> None:
    assert len(codes(judged(strange, strange, pods=[pod()]))) == len(POLICY_RULES)


def test_the_api_server_judges_by_the_same_text_where_policies_are_required() -> None:
    made = {
        each["metadata"]["name"]: each for each in admission_policy(CONFIG) if "validations" in each["spec"]
    }
    assert [each["expression"] for each in made[POLICIES]["spec"]["validations"]] == [
        rule.expression for rule in POLICY_RULES
    ]
    assert POLICIES not in {each["metadata"]["name"] for each in admission_policy(OFF)}
