"""Whatever comes as an AdmissionReview gets an AdmissionReview back, or a clean 400; through the real aiohttp server."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.errors import InvalidInput, Problem
from bartizan.policy.schema import ModelPolicy
from control_plane.injector import names
from control_plane.injector.json_patch import Operation, apply
from control_plane.injector.review import Request, allowed, denied, read_review
from tests.support.broken_pods import injected
from tests.support.pod_cases import case_pod
from tests.support.webhook_stand import CONFIG, Stand, policy, review, webhook_stand

PSS = "pod-security.kubernetes.io/enforce"


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async with webhook_stand() as made:
        yield made


async def test_mutate_answers_with_the_patch(stand: Stand) -> None:
    pod = case_pod("plain_named_port")
    response = await stand.ask("/mutate", pod)
    assert response["allowed"] is True
    assert response["patchType"] == "JSONPatch"
    operations = msgspec.json.decode(base64.b64decode(response["patch"]), type=list[Operation])
    assert apply(pod, operations) == injected("plain_named_port")


async def test_mutate_leaves_alone_what_opted_out_and_refuses_what_cant_be_guarded(stand: Stand) -> None:
    untouched = await stand.ask("/mutate", case_pod("untouched_opted_out"))
    assert untouched == {"uid": "u-1", "allowed": True}
    refused = await stand.ask("/mutate", case_pod("refused_host_network"))
    assert refused["allowed"] is False
    assert "spec.hostNetwork" in refused["status"]["message"]
    assert refused["status"]["code"] == 403


async def test_a_pod_that_asks_is_injected_only_where_its_sidecar_could_start(stand: Stand) -> None:
    pod = case_pod("opted_in_by_label")
    stand.labels = {}
    refused = await stand.ask("/mutate", pod)
    assert "namespace_not_labelled" in refused["status"]["message"]
    for labels in ({names.INJECTION: "requested"}, {names.INJECTION: "enabled"}, {names.ENFORCE: "true"}):
        stand.labels = labels
        assert "patch" in await stand.ask("/mutate", pod)


async def test_mutate_asks_the_namespace_before_it_redirects(stand: Stand) -> None:
    pod = case_pod("redirect")
    assert (await stand.ask("/mutate", pod))["allowed"] is True
    stand.labels = {PSS: "restricted"}
    refused = await stand.ask("/mutate", pod)
    assert "restricted Pod Security Standard" in refused["status"]["message"]


async def test_validate_admits_what_is_guarded_by_a_policy(stand: Stand) -> None:
    assert await stand.ask("/validate", injected()) == {"uid": "u-1", "allowed": True}
    refused = await stand.ask("/validate", case_pod("plain_named_port"))
    assert "sidecar_missing" in refused["status"]["message"]


@pytest.mark.parametrize(
    ("policies", "code"),
    [
        ([], "no_policy"),
        ([policy(selector={"matchLabels": {"app": "other"}})], "no_policy"),
        ([policy(limits={})], "policy_without_limits"),
        ([policy(input=[])], "policy_without_content_checks"),
    ],
)
async def test_validate_asks_for_a_policy_with_limits_and_content_checks(
    stand: Stand, policies: list[ModelPolicy], code: str
) -> None:
    stand.policies = policies
    response = await stand.ask("/validate", injected())
    assert response["allowed"] is False
    assert code in response["status"]["message"]


async def test_a_policy_in_shadow_mode_is_admitted_with_a_warning(stand: Stand) -> None:
    stand.policies = [policy(mode="shadow")]
    response = await stand.ask("/validate", injected())
    assert response["allowed"] is True
    assert "shadow" in response["warnings"][0]


async def test_who_may_opt_out_needs_no_policy_and_exempt_namespaces_need_nothing(stand: Stand) -> None:
    stand.policies = []
    pod = case_pod("untouched_opted_out")
    refused = await stand.ask("/validate", pod)
    assert "opt_out_not_granted" in refused["status"]["message"]
    stand.annotations = {names.OPT_OUT_IMAGES: ",".join(each["image"] for each in pod["spec"]["containers"])}
    assert (await stand.ask("/validate", pod))["allowed"] is True
    for namespace in CONFIG.exempt_namespaces:
        for path in ("/mutate", "/validate"):
            answer = await stand.ask(path, case_pod("refused_host_network"), namespace)
            assert answer == {"uid": "u-1", "allowed": True}


async def test_what_cant_be_found_out_is_refused_and_says_so(stand: Stand) -> None:
    stand.away = True
    for path in ("/mutate", "/validate"):
        response = await stand.ask(
            path, injected("plain_one_port") if path == "/validate" else case_pod("plain_one_port")
        )
        assert response["allowed"] is False
        assert response["status"]["code"] == 503
        assert "away" in response["status"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"apiVersion":"v1","kind":"Pod","request":{"uid":"x"}}',
        b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}',
        b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":""}}',
        b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":1}}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
    ],
    ids=range(11),
)
async def test_what_is_no_review_gets_a_clean_400(stand: Stand, body: bytes) -> None:
    for path in ("/mutate", "/validate"):
        status, answer = await stand.post(path, body)
        assert status == 400
        assert "not an AdmissionReview" in answer["error"]


async def test_a_pod_nested_absurdly_deep_is_refused(stand: Stand) -> None:
    deep: Any = {}
    for _ in range(200):
        deep = {"x": deep}
    for path in ("/mutate", "/validate"):
        response = await stand.ask(path, {"spec": {"containers": [deep]}})
        assert response["allowed"] is False


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "apiVersion",
                    "kind",
                    "request",
                    "uid",
                    "object",
                    "spec",
                    "metadata",
                    "containers",
                    "labels",
                    "name",
                ]
            ),
            below,
            max_size=5,
        )
    ),
    max_leaves=16,
)
OBJECTS = st.one_of(
    ANY_JSON,
    st.fixed_dictionaries({"spec": ANY_JSON}, optional={"metadata": ANY_JSON}),
    st.fixed_dictionaries({"spec": st.fixed_dictionaries({"containers": st.lists(ANY_JSON, max_size=2)})}),
)


FUZZED = Stand().webhook()


@settings(max_examples=60, deadline=None)
@given(
    bodies=st.lists(
        st.one_of(ANY_JSON.map(lambda each: json.dumps(each).encode()), OBJECTS.map(review)),
        min_size=1,
        max_size=4,
    )
)
def test_any_json_gets_a_review_or_a_400(bodies: list[bytes]) -> None:
    for body in bodies:
        try:
            request = read_review(body)
        except InvalidInput:
            continue
        for decide in (FUZZED._mutate, FUZZED._validate):
            _outcome, answer = _finished(decide(request))
            response = json.loads(answer)["response"]
            assert response["uid"] == request.uid
            assert isinstance(response["allowed"], bool)


def _finished(work: Any) -> Any:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waited")


def test_answers_are_bounded_whatever_the_pod_says() -> None:
    request = Request(uid="u")
    problems = [Problem(path=f"spec.x[{n}]", code="c", message="m" * 300) for n in range(100)]
    assert len(json.loads(denied(request, problems))["response"]["status"]["message"]) <= 4096
    warnings = json.loads(allowed(request, warnings=["w" * 5000]))["response"]["warnings"]
    assert len(warnings[0]) == 250
