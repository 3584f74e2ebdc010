"""Which content check a policy's line means: one line per check. A check is imported when the first plan names it: some
bring large libraries along.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from bartizan.policy import checks as config
from sidecar.checks.base import (
    CheckSet,
    ImageCheck,
    ParameterCheck,
    QueryCheck,
    ScoreCheck,
    TextCheck,
    WholeCheck,
)

Modules = dict[type[config.CheckConfig], str]
"""Below sidecar.checks. Each has `build`: a policy's line -> the check."""
TEXTS: Modules = {
    config.Sanitize: "sanitizers.unicode",
    config.PromptInjection: "detectors.prompt_injection",
    config.Secrets: "detectors.secrets",
    config.Pii: "detectors.pii",
    config.Canary: "detectors.canary",
    config.Exfiltration: "detectors.exfiltration",
    config.Markup: "detectors.markup",
}
SCORES: Modules = {config.Probabilities: "validators.probabilities"}
WHOLES: Modules = {config.Tools: "validators.tools", config.Structured: "validators.structured"}
PARAMETERS: Modules = {config.Parameters: "validators.parameters"}
QUERIES: Modules = {config.ExtractionWatch: "validators.extraction"}
IMAGES: Modules = {config.Image: "images.check"}
NAMES = "detectors.pii_names"
"""What a line on personal data means besides where its types have names among them."""


def build_checks(
    configs: Sequence[config.InputCheck | config.OutputCheck], *, restores: bool = False
) -> CheckSet:
    """The checks of one direction, in policy order; `restores`: of answers to requests that hold tokens.

    Raises KeyError for a check that this release doesn't know.
    """
    known = {*TEXTS, *SCORES, *WHOLES, *PARAMETERS, *QUERIES, *IMAGES}
    if strange := [type(item) for item in configs if type(item) not in known]:
        raise KeyError(strange[0])
    texts: list[TextCheck] = [check for item in configs for check in _texts(item)]
    scores: list[ScoreCheck] = _built(SCORES, configs)
    wholes: list[WholeCheck] = _built(WHOLES, configs)
    parameters: list[ParameterCheck] = _built(PARAMETERS, configs)
    queries: list[QueryCheck] = _built(QUERIES, configs)
    images: list[ImageCheck] = _built(IMAGES, configs)
    return CheckSet(
        texts=tuple(texts),
        scores=tuple(scores),
        wholes=tuple(wholes),
        parameters=tuple(parameters),
        queries=tuple(queries),
        images=tuple(images),
        restores=restores,
    )


def _texts(item: config.CheckConfig) -> list[TextCheck]:
    built: list[TextCheck] = _built(TEXTS, (item,))
    if isinstance(item, config.Pii) and item.name_types:
        names: TextCheck = import_module(f"sidecar.checks.{NAMES}").build(item)
        return [*built, names] if item.name_types < set(item.types) else [names]
    return built


def _built(modules: Modules, configs: Sequence[config.CheckConfig]) -> list[Any]:
    return [
        import_module(f"sidecar.checks.{modules[type(item)]}").build(item)
        for item in configs
        if type(item) in modules
    ]
