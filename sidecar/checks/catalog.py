"""Which content check a policy's line means: one line per check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from bartizan.policy import checks as config
from sidecar.checks.base import CheckSet

_TEXTS: dict[type[config.CheckConfig], str] = {
    config.Sanitize: "sidecar.checks.sanitizers.unicode",
    config.PromptInjection: "sidecar.checks.detectors.prompt_injection",
    config.Secrets: "sidecar.checks.detectors.secrets",
    config.Pii: "sidecar.checks.detectors.pii",
    config.Canary: "sidecar.checks.detectors.canary",
}
_SCORES: dict[type[config.CheckConfig], str] = {
    config.Probabilities: "sidecar.checks.validators.probabilities",
}


def _build(module: str) -> Callable[[Any], Any]:
    build: Callable[[Any], Any] = import_module(module).build
    return build


def build_checks(configs: Sequence[config.InputCheck | config.OutputCheck]) -> CheckSet:
    """The checks of one direction, in policy order. Raises KeyError for a check that this release doesn't know."""
    texts = [_build(_TEXTS[type(item)])(item) for item in configs if type(item) not in _SCORES]
    scores = [_build(_SCORES[type(item)])(item) for item in configs if type(item) in _SCORES]
    return CheckSet(texts=tuple(texts), scores=tuple(scores))
