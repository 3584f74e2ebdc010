"""Every check that a policy can name is built by the catalog: nobody forgets the line."""

from __future__ import annotations

from typing import get_args

from bartizan.policy.checks import Canary, InputCheck, OutputCheck, Pii, Probabilities, Sanitize
from sidecar.checks.catalog import SCORES, TEXTS, WHOLES, build_checks


def test_every_config_has_its_line_and_every_line_its_config() -> None:
    assert {*get_args(InputCheck), *get_args(OutputCheck)} == {*TEXTS, *SCORES, *WHOLES}


def test_checks_are_built_in_policy_order() -> None:
    built = build_checks((Sanitize(), Pii(), Canary(tokens=("12345678",)), Probabilities()))
    assert [check.name for check in built.texts] == ["sanitize", "pii", "canary"]
    assert [check.name for check in built.scores] == ["probabilities"]
    assert not build_checks(())
