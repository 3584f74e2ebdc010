"""Which content check a policy's line means: one line per check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bartizan.policy import checks as config
from sidecar.checks.base import CheckSet, ScoreCheck, TextCheck
from sidecar.checks.detectors import canary, exfiltration, markup, pii, prompt_injection, secrets
from sidecar.checks.sanitizers import unicode
from sidecar.checks.validators import probabilities

TEXTS: dict[type[config.CheckConfig], Callable[[Any], TextCheck]] = {
    config.Sanitize: unicode.build,
    config.PromptInjection: prompt_injection.build,
    config.Secrets: secrets.build,
    config.Pii: pii.build,
    config.Canary: canary.build,
    config.Exfiltration: exfiltration.build,
    config.Markup: markup.build,
}
SCORES: dict[type[config.CheckConfig], Callable[[Any], ScoreCheck]] = {
    config.Probabilities: probabilities.build,
}


def build_checks(configs: Sequence[config.InputCheck | config.OutputCheck]) -> CheckSet:
    """The checks of one direction, in policy order. Raises KeyError for a check that this release doesn't know."""
    return CheckSet(
        texts=tuple(TEXTS[type(item)](item) for item in configs if type(item) not in SCORES),
        scores=tuple(SCORES[type(item)](item) for item in configs if type(item) in SCORES),
    )
