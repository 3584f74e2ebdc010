"""Bounds what a request asks of the engine: tokens, alternatives, log probabilities, guided decoding.

A number that is too large is set to the bound (`clamp`), refused or flagged, and what is the operator's to say is taken
out likewise; a pattern or schema that is too large can only be refused or flagged. A request that leaves a number out
keeps the engine's own default.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from bartizan.policy.checks import Parameters
from sidecar.checks.base import ParameterCheck
from sidecar.checks.validators.complexity import MOST, pattern_states, schema_size
from sidecar.formats.base import FormatError
from sidecar.formats.json_text import decode, location
from sidecar.formats.parameters import ENGINE, Parameter
from sidecar.model.finding import Action, Finding

_ACTIONS = {"clamp": Action.REDACT, "deny": Action.DENY, "flag": Action.FLAG}
_GUIDES = {"pattern": "guided_pattern", "schema": "guided_schema"}
_DEPTH = 128
_EVEN_ZERO = frozenset({"logprobs", "prompt_logprobs"})
"""With 0 the engine still tells those of the tokens that it chose."""
_LEFT_OUT = {"priority": 0}
"""What stands for a member that is taken out; null, where an engine takes that like none."""
_NOT_LEFT_OUT = frozenset({"lora"})
"""llama.cpp takes no null there, and an empty list turns the operator's own adapters off."""
_THINKING = "budget_tokens"
"""Must be less than max_tokens, or the provider refuses what is left of the request."""
_LOGPROBS = "message.output_text.logprobs"


class ParametersCheck:
    """ParameterCheck over the bounds of one policy."""

    name = "parameters"

    def __init__(self, bounds: dict[str, int], action: Action, *, engine_options: bool = True) -> None:
        self._bounds = bounds
        self._action = action
        self._engine_options = engine_options

    def judge(self, asked: Sequence[Parameter]) -> list[tuple[Finding, Parameter | None]]:
        judged: list[tuple[Finding, Parameter | None]] = []
        for one in asked:
            if one.name == "included":
                judged += self._included(one)
                continue
            if one.name == ENGINE:
                judged += self._engines(one)
                continue
            bound = self._bounds.get(one.name)
            if bound is None:
                continue
            if one.path[-1] == _THINKING:
                bound -= 1
            if one.name in _GUIDES:
                if _size(one) > bound:
                    action = Action.FLAG if self._action is Action.FLAG else Action.DENY
                    judged.append((self._finding(one, _GUIDES[one.name], action), None))
            elif type(one.value) not in (int, bool):
                judged.append((self._finding(one, "not_a_number", Action.DENY), None))
            elif not 0 <= one.value <= bound:  # some engines take -1 for no bound at all
                judged.append(self._less(one, bound if type(one.value) is int else False))
            elif bound == 0 and type(one.value) is int and one.path[-1] in _EVEN_ZERO:
                judged.append(self._less(one, None))
        return judged

    def _engines(self, one: Parameter) -> list[tuple[Finding, Parameter | None]]:
        member = str(one.path[-1])
        without = _LEFT_OUT.get(member)
        if self._engine_options or one.value == without:
            return []
        if member in _NOT_LEFT_OUT and self._action is Action.REDACT:
            return [(self._finding(one, ENGINE, Action.DENY), None)]
        return [self._less(one, without)]

    def _less(self, one: Parameter, value: Any) -> tuple[Finding, Parameter | None]:
        less = Parameter(one.path, one.name, value) if self._action is Action.REDACT else None
        return self._finding(one, one.name, self._action), less

    def _included(self, one: Parameter) -> list[tuple[Finding, Parameter | None]]:
        """The Responses API's way to ask for log probabilities, without a number."""
        if self._bounds.get("logprobs") != 0 or not isinstance(one.value, list) or _LOGPROBS not in one.value:
            return []
        asked = Parameter(one.path, "logprobs", one.value)
        return [self._less(asked, [item for item in one.value if item != _LOGPROBS])]

    def _finding(self, one: Parameter, kind: str, action: Action) -> Finding:
        return Finding(check=self.name, kind=kind, action=action, location=location(one.path[:1]))


def _size(one: Parameter) -> int:
    value: Any = one.value
    if one.name == "pattern":
        return pattern_states(value) if isinstance(value, str) else MOST
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        try:
            value = decode(value.encode("utf-8", "replace"), max_depth=_DEPTH)[1]
        except FormatError:
            return MOST
    return schema_size(value)


def build(config: Parameters) -> ParameterCheck:
    numbers = {
        "maxTokens": config.max_tokens,
        "contextTokens": config.context_tokens,
        "n": config.n,
        "bestOf": config.best_of,
        "logprobs": config.logprobs,
    }
    bounds = {name: bound for name, bound in numbers.items() if bound is not UNSET}
    bounds |= {"pattern": config.pattern_states, "schema": config.schema_size}
    return ParametersCheck(bounds, _ACTIONS[config.action], engine_options=config.engine_options)
