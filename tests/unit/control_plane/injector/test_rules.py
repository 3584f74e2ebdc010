"""Each admission rule is broken by the pod that it is about, and by none that the injector made."""

from __future__ import annotations

import functools
from typing import Any

import msgspec
import pytest

from control_plane.injector import names
from control_plane.injector.config import Config
from control_plane.injector.judge import Judge, pod_judge
from control_plane.injector.patch import Injected, inject
from control_plane.injector.refusals import Namespace
from control_plane.injector.rules import rules
from tests.support.broken_pods import BROKEN, CONFIG, Pod, injected, model_of
from tests.support.pod_cases import CASES, case_config, case_namespace, case_pod

JUDGE = pod_judge(CONFIG)
STRICT = pod_judge(msgspec.structs.replace(CONFIG, require_digests=True))
NAMESPACE = Namespace(name="prod", labels={names.ENFORCE: "true"})


@functools.cache
def judge_of(config: Config) -> Judge:
    """Compiling takes longer than judging."""
    return pod_judge(config)


def codes(pod: Pod, judge: Judge = JUDGE, namespace: Namespace = NAMESPACE) -> list[str]:
    return [rule.code for rule in judge.broken(pod, namespace)]


@pytest.mark.parametrize("case", CASES)
def test_what_the_injector_makes_breaks_no_rule_but_that_of_excluded_ports(case: str) -> None:
    result = inject(case_pod(case), case_namespace(case), case_config(case))
    if not isinstance(result, Injected):
        return
    excluded = {
        "redirect_excluded": ["sidecar_capture", "capabilities", "excluded_ports"],
        "port_open_with_reason": ["excluded_ports", "sidecar_open_ports"],
    }
    assert codes(result.pod, judge_of(case_config(case))) == excluded.get(case, [])


@pytest.mark.parametrize("case", BROKEN)
def test_a_pod_that_goes_around_its_sidecar_breaks_the_rule_about_it(case: str) -> None:
    code, change = BROKEN[case]
    pod = injected()
    change(pod)
    assert code in codes(pod)


def test_every_rule_is_broken_by_some_pod() -> None:
    shown = {code for code, _ in BROKEN.values()}
    shown |= {"model_opted_out", "opt_out_not_granted", "image_not_by_digest"}
    assert {rule.code for rule in rules(msgspec.structs.replace(CONFIG, require_digests=True))} == shown


@pytest.mark.parametrize(
    ("image", "model"),
    [
        ("ollama/ollama", True),
        ("ollama/ollama:0.12", True),
        ("registry.example:5000/x/ollama@sha256:" + "a" * 64, True),
        ("team/ollama-exporter:1", False),
        ("ghcr.io/ggml-org/llama.cpp:server", True),
        ("VLLM/vllm-openai:1", True),
        ("busybox", False),
    ],
)
def test_model_images_are_known_with_and_without_tag(image: str, model: bool) -> None:
    pod = {
        "metadata": {"labels": {names.INJECT: "false"}},
        "spec": {"containers": [{"name": "x", "image": image}]},
    }
    assert ("model_opted_out" in codes(pod)) is model


def test_images_by_digest_are_asked_for_where_configured() -> None:
    pod = injected()
    assert codes(pod, STRICT) == ["image_not_by_digest"]
    model_of(pod)["image"] = f"registry.example/team/sentiment:1.4@sha256:{'a' * 64}"
    assert codes(pod, STRICT) == []


@pytest.mark.parametrize("document", [{}, {"spec": 3}, {"spec": {"containers": [7]}}, [], None, "x"])
def test_what_is_no_pod_is_never_admitted(document: Any) -> None:
    assert "sidecar_missing" in codes(document)
