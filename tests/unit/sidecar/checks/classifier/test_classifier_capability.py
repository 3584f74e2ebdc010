"""Who is sent a policy with a classifier, and how its requests are led: compiled as the control plane does it."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from bartizan.policy.capabilities import CLASSIFIER, required_by
from bartizan.policy.checks import Classifier, PromptInjection
from control_plane.compile.envoy.filters.ext_proc import ASKING_TIMEOUT, MESSAGE_TIMEOUT, message_timeout
from control_plane.compile.resolve import Resolved, resolve
from sidecar.checks.installed import capabilities
from tests.support.classifiers import made
from tests.support.compiled import policy


def resolved(config: Classifier | None) -> Resolved:
    checks = (PromptInjection() if config is None else PromptInjection(classifier=config),)
    return resolve(policy(input=checks), revision=1, version=1)


def test_a_policy_with_a_classifier_goes_to_who_can_run_it_and_is_given_time(tmp_path: Path) -> None:
    without, with_one = resolved(None), resolved(made(tmp_path).config)
    assert (CLASSIFIER in required_by(without.spec), CLASSIFIER in required_by(with_one.spec)) == (
        False,
        True,
    )
    assert (message_timeout(without), message_timeout(with_one)) == (MESSAGE_TIMEOUT, ASKING_TIMEOUT)
    assert (without.body_in_check, with_one.body_in_check) == (True, False)


@pytest.mark.parametrize("missing", ["onnxruntime", "tokenizers"])
def test_a_sidecar_announces_classifiers_only_with_what_runs_them(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    assert CLASSIFIER in capabilities()
    find = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == missing else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    assert CLASSIFIER not in capabilities()
