"""What does this loosen? Every kind of weakening is named, every tightening and neutral change is not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.policy.validate import validate_document
from control_plane.policies.diff import differences
from control_plane.policies.revisions import (
    PolicyConflict,
    check_conflicts,
    could_both_select,
    document_of,
    plain,
)

NAMER = {
    "file": "file:a",
    "sha256": "0" * 64,
    "tokenizer": "file:b",
    "tokenizerSha256": "1" * 64,
    "labels": {"person": [1, 2]},
}
BASE: dict[str, Any] = {
    "apiVersion": "bartizan.dev/v1alpha1",
    "kind": "ModelPolicy",
    "metadata": {"name": "chat", "namespace": "prod"},
    "spec": {
        "selector": {"matchLabels": {"app": "chat"}},
        "listener": {"tls": {"cert": "file:tls.crt", "key": "file:tls.key"}},
        "model": {"name": "m", "protocol": "json_fields"},
        "routes": [
            {
                "path": "/predict",
                "inputText": ["$.text", "$.more"],
                "outputText": ["$.echo"],
                "outputScores": ["$.p"],
            }
        ],
        "tenants": ["acme", "globex"],
        "authn": {"apiKeys": {"set": "chat"}},
        "authz": [{"name": "eu", "deny": 'identity.region != "eu"'}],
        "limits": {"requests": [{"per": "key", "rate": "50/m"}], "body": {"max": "1MiB", "jsonDepth": 8}},
        "input": [{"sanitize": {}}, {"pii": {"types": ["email", "card"], "action": "deny"}}],
        "output": [
            {"canary": {"tokens": ["canary-one", "canary-two"]}},
            {"probabilities": {"decimals": 2}},
            {"pii": {"action": "redact"}},
        ],
    },
}

Edit = Callable[[dict[str, Any]], object]


def loosened(edit: Edit) -> tuple[str, ...]:
    after = copy.deepcopy(BASE)
    edit(after["spec"])
    changes = differences(validate_document(BASE), validate_document(after))
    assert changes
    return tuple(change.loosens for change in changes if change.loosens)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda s: s.update(mode="shadow"), "nothing is blocked any more"),
        (lambda s: s["tenants"].append("initech"), "tenant initech may call"),
        (lambda s: s["input"].pop(1), "input check pii is gone"),
        (lambda s: s["input"].pop(0), "input check sanitize is gone"),
        (lambda s: s.pop("output"), "output check canary is gone"),
        (lambda s: s["input"][1]["pii"].update(action="redact"), "input check pii does less: deny -> redact"),
        (lambda s: s["output"][2]["pii"].update(action="flag"), "output check pii does less: redact -> flag"),
        (lambda s: s["input"][1]["pii"].update(types=["email"]), "input check pii looks for less"),
        (lambda s: s["input"][0]["sanitize"].update(unicode="none"), "no longer normalised"),
        (
            lambda s: s["output"][0]["canary"].update(tokens=["canary-one"]),
            "output check canary looks for less",
        ),
        (lambda s: s["output"][1]["probabilities"].update(decimals=4), "shown finer: 2 -> 4"),
        (lambda s: s["limits"]["requests"][0].update(rate="1/s"), "more requests per key: 50/m -> 1/s"),
        (lambda s: s["limits"].update(requests=[]), "the request limit per key is gone"),
        (lambda s: s["limits"]["body"].update(max="2MiB"), "larger bodies: 1MiB -> 2MiB"),
        (lambda s: s["limits"]["body"].update(jsonDepth=9), "deeper JSON"),
        (lambda s: s.pop("authz"), "authorization rule eu is gone"),
        (lambda s: s["authz"][0].update(deny="false"), "authorization rule eu reads differently"),
        (lambda s: s["routes"].append({"path": "/x", "inputText": ["$.t"]}), "POST /x can be called"),
        (
            lambda s: s["routes"][0].update(inputText=["$.text"]),
            "POST /predict: a field is no longer checked",
        ),
        (lambda s: s["listener"].update(tls="none"), "takes plain HTTP"),
        (lambda s: s["authn"]["apiKeys"].update(set="other"), "another set of API keys"),
        (lambda s: s["selector"]["matchLabels"].update(app="b"), "another set of sidecars"),
    ],
)
def test_a_loosening_is_named(edit: Edit, said: str) -> None:
    found = loosened(edit)
    assert any(said in text for text in found), found


@pytest.mark.parametrize(
    "edit",
    [
        lambda s: s["tenants"].pop(),
        lambda s: s["limits"]["requests"][0].update(rate="10/m"),
        lambda s: s["listener"].update(address="127.0.0.1"),
        lambda s: s["limits"]["body"].update(max="512KiB"),
        lambda s: s["input"].append({"promptInjection": {}}),
        lambda s: s["output"][2]["pii"].update(action="deny"),
        lambda s: s["output"][1]["probabilities"].update(decimals=1),
        lambda s: s["authz"].append({"name": "more", "deny": "true"}),
        lambda s: (
            s["telemetry"].update(traceSample=1)
            if "telemetry" in s
            else s.update(telemetry={"traceSample": 1})
        ),
    ],
)
def test_tightening_and_neutral_changes_loosen_nothing(edit: Edit) -> None:
    assert loosened(edit) == ()


def test_a_deny_rule_is_told_from_an_allow_rule_of_its_name() -> None:
    one, other = copy.deepcopy(BASE), copy.deepcopy(BASE)
    allow, deny = ({"name": "staff", side: "true"} for side in ("allow", "deny"))
    one["spec"]["authz"], other["spec"]["authz"] = [allow], [deny, allow]
    changes = differences(validate_document(one), validate_document(other))
    assert [(change.path, change.kind, change.loosens) for change in changes] == [
        ("spec.authz[deny staff]", "added", "")
    ]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (None, ("no classifier judges requests any more",)),
        ({"threshold": 0.9}, ("the classifier denies less: 0.5 -> 0.9",)),
        ({"threshold": 0.2}, ()),
        ({"askFrom": 0.1}, ("the classifier denies less: 0.0 -> 0.1",)),
        ({"onFailure": "flag"}, ("what the classifier did not judge passes",)),
        ({"sha256": "2" * 64}, ("another classifier judges requests",)),
        ({"maxTokens": 256}, ()),
    ],
)
def test_less_of_a_classifier_is_named(changed: dict[str, Any] | None, said: tuple[str, ...]) -> None:
    own = {"model": "file:a", "sha256": "0" * 64, "tokenizer": "file:b", "tokenizerSha256": "1" * 64}
    before, after = copy.deepcopy(BASE), copy.deepcopy(BASE)
    before["spec"]["input"].append({"promptInjection": {"classifier": own}})
    after["spec"]["input"].append(
        {"promptInjection": {} if changed is None else {"classifier": own | changed}}
    )
    changes = differences(validate_document(before), validate_document(after))
    assert changes
    assert tuple(change.loosens for change in changes if change.loosens) == said


MORE = "requests may ask more of the engine"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"maxTokens": 9}, {"maxTokens": 10}, (f"{MORE} (maxTokens): 9 -> 10",)),
        ({"maxTokens": 9}, {"maxTokens": 8}, ()),
        ({"maxTokens": 9}, {}, (f"{MORE} (maxTokens): 9 -> any number",)),
        ({}, {"maxTokens": 9}, ()),
        ({"patternStates": 9}, {}, (f"{MORE} (patternStates): 9 -> 10000",)),
        ({"engineOptions": False}, {}, ("requests may say how the engine is run",)),
        ({}, {"engineOptions": False}, ()),
        ({}, {"action": "flag"}, ("input check parameters does less: clamp -> flag",)),
        ({"action": "deny"}, {}, ("input check parameters does less: deny -> clamp",)),
        ({}, {"action": "deny"}, ()),
    ],
)
def test_what_more_a_request_may_ask_of_the_engine_is_named(
    before: dict[str, Any], after: dict[str, Any], said: tuple[str, ...]
) -> None:
    documents = copy.deepcopy(BASE), copy.deepcopy(BASE)
    for document, config in zip(documents, (before, after), strict=True):
        document["spec"]["input"].append({"parameters": config})
    changes = differences(*map(validate_document, documents))
    assert changes
    assert tuple(change.loosens for change in changes if change.loosens) == said


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"names": {"threshold": 0.9}}, ("input check pii finds fewer names: 0.5 -> 0.9",)),
        ({"names": {"threshold": 0.2}}, ()),
        ({"names": {"onFailure": "flag"}}, ("input check pii: texts that were not read for names pass",)),
        ({"names": {"model": NAMER}}, ("input check pii: another model finds names",)),
        ({"types": ["email"]}, ("input check pii looks for less (types)",)),
    ],
)
def test_less_of_names_is_named(changed: dict[str, Any], said: tuple[str, ...]) -> None:
    before, after = copy.deepcopy(BASE), copy.deepcopy(BASE)
    for document, check in ((before, {}), (after, changed)):
        document["spec"]["input"] = [{"pii": {"types": ["email", "person"]} | check}]
    changes = differences(validate_document(before), validate_document(after))
    assert changes
    assert tuple(change.loosens for change in changes if change.loosens) == said


def test_writing_a_default_is_no_change() -> None:
    explicit = copy.deepcopy(BASE)
    explicit["spec"].update(mode="enforce", failure={"content": "closed"})
    explicit["spec"]["input"][0]["sanitize"]["unicode"] = "nfkc"
    assert differences(validate_document(BASE), validate_document(explicit)) == ()


def test_a_stored_document_keeps_what_was_written_and_is_the_default() -> None:
    explicit = copy.deepcopy(BASE)
    explicit["spec"]["mode"] = "enforce"
    assert document_of(BASE) != document_of(explicit)
    assert plain(document_of(explicit))["spec"]["mode"] == "enforce"


def test_a_bare_check_is_stored_as_one_without_settings() -> None:
    bare, empty = copy.deepcopy(BASE), copy.deepcopy(BASE)
    bare["spec"]["input"], empty["spec"]["input"] = [{"pii": None}], [{"pii": {}}]
    assert document_of(bare) == document_of(empty)


def test_a_stored_document_reads_back_as_the_same_policy() -> None:
    assert validate_document(plain(document_of(BASE))) == validate_document(BASE)


_LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), min_size=1)


@given(one=_LABELS, other=_LABELS)
def test_two_selectors_could_meet_exactly_when_some_labels_satisfy_both(
    one: dict[str, str], other: dict[str, str]
) -> None:
    union = {**one, **other}
    meet = one.items() <= union.items() and other.items() <= union.items()
    assert could_both_select(one, other) is meet
    assert could_both_select(other, one) is meet


@pytest.mark.parametrize(
    ("spec", "conflict"),
    [
        ({"selector": {"matchLabels": {"app": "elsewhere"}}, "of": "another release"}, ""),
        (
            {"selector": {"matchLabels": {"more": "x"}}, "of": "another release"},
            "could select the same sidecar",
        ),
        ({"selector": {"expression": "true"}}, "can't be read"),
        ({"selector": {"matchLabels": {"app": 1}}}, "can't be read"),
        ({}, "can't be read"),
    ],
)
def test_of_other_policies_only_the_selector_counts_and_one_that_cant_be_read_conflicts(
    spec: dict[str, object], conflict: str
) -> None:
    policy = validate_document({**BASE, "spec": {**BASE["spec"], "selector": {"matchLabels": {"app": "x"}}}})
    others = [("prod/other", json.dumps({"spec": spec})), (policy.qualified_name, "{}")]
    if not conflict:
        check_conflicts(policy, others)
        return
    with pytest.raises(PolicyConflict, match=conflict) as refused:
        check_conflicts(policy, others)
    assert [problem.code for problem in refused.value.problems] == ["policy_conflict"]


@pytest.mark.parametrize(
    ("before", "after", "opened"),
    [
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.1", "10.0.0.8", True),
        ("10.0.0.8", "::", True),
        ("127.0.0.1", "::1", False),
        ("0.0.0.0", "127.0.0.1", False),
        ("10.0.0.8", "10.0.0.9", False),
    ],
)
def test_a_listener_that_more_can_reach_is_said(before: str, after: str, opened: bool) -> None:
    policies = []
    for address in (before, after):
        document = copy.deepcopy(BASE)
        document["spec"]["listener"]["address"] = address
        policies.append(validate_document(document))
    (change,) = differences(*policies)
    assert change.loosens == (f"others may connect: {before} -> {after}" if opened else "")
