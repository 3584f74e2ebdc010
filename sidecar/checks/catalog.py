"""Which content check a policy's line means: one line per check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bartizan.policy import checks as config
from sidecar.checks.base import CheckSet, ParameterCheck, QueryCheck, ScoreCheck, TextCheck, WholeCheck
from sidecar.checks.detectors import canary, exfiltration, markup, pii, prompt_injection, secrets
from sidecar.checks.sanitizers import unicode
from sidecar.checks.validators import extraction, parameters, probabilities, structured, tools

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
WHOLES: dict[type[config.CheckConfig], Callable[[Any], WholeCheck]] = {
    config.Tools: tools.build,
    config.Structured: structured.build,
}
PARAMETERS: dict[type[config.CheckConfig], Callable[[Any], ParameterCheck]] = {
    config.Parameters: parameters.build,
}
QUERIES: dict[type[config.CheckConfig], Callable[[Any], QueryCheck]] = {
    config.ExtractionWatch: extraction.build,
}


def build_checks(
    configs: Sequence[config.InputCheck | config.OutputCheck], *, restores: bool = False
) -> CheckSet:
    """The checks of one direction, in policy order; `restores`: of answers to requests that hold tokens.

    Raises KeyError for a check that this release doesn't know.
    """
    known = {*TEXTS, *SCORES, *WHOLES, *PARAMETERS, *QUERIES}
    if strange := [type(item) for item in configs if type(item) not in known]:
        raise KeyError(strange[0])
    return CheckSet(
        texts=tuple(TEXTS[type(item)](item) for item in configs if type(item) in TEXTS),
        scores=tuple(SCORES[type(item)](item) for item in configs if type(item) in SCORES),
        wholes=tuple(WHOLES[type(item)](item) for item in configs if type(item) in WHOLES),
        parameters=tuple(PARAMETERS[type(item)](item) for item in configs if type(item) in PARAMETERS),
        queries=tuple(QUERIES[type(item)](item) for item in configs if type(item) in QUERIES),
        restores=restores,
    )
