"""A pod's token counts only for our audience, bound to a pod that exists with this very UID."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.errors import IdentityRefused
from control_plane.identity.projected import (
    Bound,
    bound_pod,
    check_shape,
    from_claims,
    from_review,
    is_gone,
)

BOUND = Bound(namespace="prod", service_account="chat", pod_name="chat-0", pod_uid="u1")
REVIEW: dict[str, Any] = {
    "authenticated": True,
    "audiences": ["bartizan"],
    "user": {
        "username": "system:serviceaccount:prod:chat",
        "extra": {
            "authentication.kubernetes.io/pod-name": ["chat-0"],
            "authentication.kubernetes.io/pod-uid": ["u1"],
        },
    },
}
CLAIMS: dict[str, Any] = {
    "iss": "https://cluster.example",
    "aud": ["bartizan"],
    "exp": 2000,
    "nbf": 1000,
    "sub": "system:serviceaccount:prod:chat",
    "kubernetes.io": {
        "namespace": "prod",
        "serviceaccount": {"name": "chat", "uid": "s1"},
        "pod": {"name": "chat-0", "uid": "u1"},
    },
}
POD: dict[str, Any] = {
    "metadata": {"uid": "u1", "labels": {"app": "chat"}},
    "spec": {"serviceAccountName": "chat"},
    "status": {"phase": "Running"},
}


def without(document: dict[str, Any], *path: str) -> dict[str, Any]:
    head, *rest = path
    if not rest:
        return {key: value for key, value in document.items() if key != head}
    return {**document, head: without(document[head], *rest)}


def test_a_good_review_names_account_and_pod() -> None:
    assert from_review(REVIEW) == BOUND


@pytest.mark.parametrize(
    ("review", "why"),
    [
        ({}, "does not accept"),
        (None, "can't be read"),
        ({**REVIEW, "authenticated": False}, "does not accept"),
        ({**REVIEW, "authenticated": "yes"}, "can't be read"),
        (without(REVIEW, "audiences"), "not for the audience bartizan"),
        ({**REVIEW, "audiences": ["vault"]}, "not for the audience bartizan"),
        ({**REVIEW, "user": {**REVIEW["user"], "username": "alice"}}, "not a service account's"),
        ({**REVIEW, "user": {**REVIEW["user"], "username": "system:serviceaccount:a:b:c"}}, "not a service"),
        (without(REVIEW, "user", "extra"), "not bound to a pod"),
        (without(REVIEW, "user", "extra", "authentication.kubernetes.io/pod-uid"), "not bound to a pod"),
    ],
)
def test_a_review_that_says_less_is_refused(review: object, why: str) -> None:
    with pytest.raises(IdentityRefused, match=why):
        from_review(review)


def test_good_claims_name_account_and_pod() -> None:
    assert from_claims(CLAIMS, issuer="https://cluster.example", now=1500) == BOUND
    assert from_claims({**CLAIMS, "aud": "bartizan"}, issuer="https://cluster.example", now=1500) == BOUND


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ([], "no service account's"),
        ({**CLAIMS, "iss": "https://other.example"}, "another issuer"),
        ({**CLAIMS, "aud": ["vault"]}, "not for the audience"),
        ({**CLAIMS, "exp": 1400}, "expired"),
        ({**CLAIMS, "nbf": 1600}, "not valid yet"),
        (without(CLAIMS, "exp"), "no service account's"),
        ({**CLAIMS, "sub": "system:serviceaccount:prod:other"}, "contradicts itself"),
        (without(CLAIMS, "kubernetes.io", "pod"), "not bound to a pod"),
    ],
)
def test_claims_that_say_less_are_refused(claims: object, why: str) -> None:
    with pytest.raises(IdentityRefused, match=why):
        from_claims(claims, issuer="https://cluster.example", now=1500)


def test_labels_are_those_that_the_pod_has() -> None:
    assert bound_pod(BOUND, POD).labels == {"app": "chat"}
    assert bound_pod(BOUND, without(POD, "metadata", "labels")).labels == {}


@pytest.mark.parametrize(
    ("pod", "why"),
    [
        (None, "pod is gone"),
        ({**POD, "metadata": {"uid": "u2"}}, "another one has its name"),
        ({**POD, "spec": {"serviceAccountName": "admin"}}, "another service account"),
        ({**POD, "status": {"phase": "Failed"}}, "has ended"),
        ({}, "can't be read"),
    ],
)
def test_another_or_an_ended_pod_is_refused(pod: dict[str, Any] | None, why: str) -> None:
    with pytest.raises(IdentityRefused, match=why):
        bound_pod(BOUND, pod)


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c d", "a.b.c\n", "ä.b.c", f"{'a' * 9000}.b.c"])
def test_what_is_no_token_asks_no_api_server(token: str) -> None:
    with pytest.raises(IdentityRefused):
        check_shape(token)


@pytest.mark.parametrize(
    ("pod", "gone"),
    [
        (None, True),
        (POD, False),
        ({"metadata": {"uid": "u2"}}, True),
        ({**POD, "status": {"phase": "Succeeded"}}, True),
        ({**POD, "metadata": {"uid": "u1", "deletionTimestamp": "now"}}, False),
    ],
)
def test_only_a_pod_that_is_no_more_is_gone(pod: dict[str, Any] | None, gone: bool) -> None:
    assert is_gone(pod, "u1") is gone


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*REVIEW, *CLAIMS, *POD]), inner)
    ),
    max_leaves=10,
)


@given(JSON)
def test_any_answer_is_refused_or_read_never_a_fault(answer: Any) -> None:
    for read in (
        lambda: from_review(answer),
        lambda: from_claims(answer, issuer="i", now=0.0),
        lambda: bound_pod(BOUND, answer),
    ):
        try:
            read()
        except IdentityRefused:
            continue
