"""Every pod of tests/golden/injector becomes what stands beside it, and Kubernetes takes what it becomes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.injector import names
from control_plane.injector.json_patch import apply
from control_plane.injector.patch import Injected, Outcome, Refused, Untouched, inject
from control_plane.injector.refusals import Namespace
from tests.support.kubernetes_schemas import NEWEST, OLDEST_NATIVE, schema_errors
from tests.support.pod_cases import CASES, IMAGE, case_config, case_namespace, case_pod


def outcome(case: str, document: dict[str, Any] | None = None) -> Outcome:
    return inject(document or case_pod(case), case_namespace(case), case_config(case))


INJECTED = [case for case in CASES if isinstance(outcome(case), Injected)]


def shown(result: Outcome) -> object:
    match result:
        case Injected():
            return result.operations
        case Untouched():
            return {"untouched": result.reason}
        case Refused():
            problems = [asdict(problem) for problem in result.problems]
            return {
                "refused": [
                    {key: value for key, value in one.items() if key not in {"document", "line"}}
                    for one in problems
                ]
            }


def test_there_are_at_least_sixty_pods_of_which_most_are_injected() -> None:
    assert len(CASES) >= 60
    assert len(INJECTED) >= 50


@pytest.mark.parametrize("case", CASES)
def test_pod_becomes_its_golden_patch(case: str, golden: Callable[[str, str], None]) -> None:
    text = msgspec.json.format(msgspec.json.encode(shown(outcome(case))), indent=2).decode()
    golden(f"injector/{case}/patch.json", text + "\n")


@pytest.mark.parametrize("case", CASES)
def test_the_name_of_a_case_says_what_becomes_of_it(case: str) -> None:
    expected = {"refused": Refused, "untouched": Untouched}.get(case.partition("_")[0], Injected)
    assert isinstance(outcome(case), expected)


@pytest.mark.parametrize("case", INJECTED)
def test_the_operations_lead_from_the_pod_as_it_came_to_the_patched_one(case: str) -> None:
    result = outcome(case)
    assert isinstance(result, Injected)
    assert apply(case_pod(case), result.operations) == result.pod


@pytest.mark.parametrize("case", INJECTED)
def test_kubernetes_own_schema_takes_the_patched_pod(case: str) -> None:
    result = outcome(case)
    assert isinstance(result, Injected)
    assert schema_errors(result.pod, NEWEST) == []


@pytest.mark.parametrize("case", ["options_all", "redirect_egress_names", "vllm_full_size", "probes_grpc"])
def test_the_first_kubernetes_with_native_sidecars_takes_them_too(case: str) -> None:
    result = outcome(case)
    assert isinstance(result, Injected)
    assert schema_errors(result.pod, OLDEST_NATIVE) == []


@pytest.mark.parametrize("case", INJECTED)
def test_patching_twice_is_patching_once(case: str) -> None:
    first = outcome(case)
    assert isinstance(first, Injected)
    assert outcome(case, first.pod) == Untouched(reason="already_injected")


@pytest.mark.parametrize("case", CASES)
def test_the_given_document_is_never_changed(case: str) -> None:
    document = case_pod(case)
    before = copy.deepcopy(document)
    outcome(case, document)
    assert document == before


@pytest.mark.parametrize("case", INJECTED)
def test_the_sidecar_meets_the_restricted_profile_and_no_other_container_sees_its_volumes(case: str) -> None:
    result = outcome(case)
    assert isinstance(result, Injected)
    spec = result.pod["spec"]
    containers = [*spec["containers"], *(spec.get("initContainers") or [])]
    sidecar = next(each for each in containers if each["name"] == names.SIDECAR)
    context = sidecar["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    others = [each for each in containers if each is not sidecar]
    mounted = {mount["name"] for each in others for mount in each.get("volumeMounts", [])}
    assert not {name for name in mounted if name.startswith(names.VOLUME_PREFIX)}


@pytest.mark.parametrize("case", INJECTED)
def test_the_pod_gets_more_time_to_end_than_its_streams(case: str) -> None:
    result = outcome(case)
    assert isinstance(result, Injected)
    assert result.pod["spec"].get("terminationGracePeriodSeconds", 30) > result.options.drain_seconds


@pytest.mark.parametrize("case", CASES)
def test_a_pod_that_opts_out_is_left_alone_whatever_it_is(case: str) -> None:
    document = case_pod(case)
    document["metadata"]["labels"] = {**(document["metadata"].get("labels") or {}), names.INJECT: "false"}
    if case == "refused_not_a_pod":
        return
    reason = (
        "exempt_namespace" if case in {"untouched_kube_system", "untouched_own_namespace"} else "opted_out"
    )
    assert outcome(case, document) == Untouched(reason=reason)


def test_every_refusal_says_what_where_and_how_to_mend_it() -> None:
    for case in CASES:
        result = outcome(case)
        if isinstance(result, Refused) and case != "refused_not_a_pod":
            assert all(each.path and each.message and each.hint for each in result.problems), case


def test_only_redirect_asks_for_a_capability() -> None:
    for case in INJECTED:
        result = outcome(case)
        assert isinstance(result, Injected)
        asks = "NET_ADMIN" in msgspec.json.encode(result.pod).decode()
        assert asks == (result.options.capture == "redirect"), case


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "spec",
                    "metadata",
                    "containers",
                    "initContainers",
                    "ports",
                    "labels",
                    "annotations",
                    "x",
                ]
            ),
            below,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=80, deadline=None)
@given(tree=TREES)
def test_no_document_makes_the_injector_fail(tree: Any) -> None:
    config = case_config("plain_one_port")
    result = inject(tree, Namespace(name="prod", labels={names.INJECTION: "enabled"}), config)
    assert isinstance(result, Injected | Untouched | Refused)
    assert config.image == IMAGE
