"""Evaluates the admission rules on a pod, with the same CEL text that the API server gets. Pure.

An expression that fails is a rule that is broken: nothing is admitted for being strange.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from cel_expr_python import cel

from bartizan.errors import Problem
from control_plane.injector.config import Config
from control_plane.injector.pods import Document, without_nulls
from control_plane.injector.rule import Rule
from control_plane.injector.rules import rules, variables

OBJECT: Final = "object"


class Judge:
    """Compiled once for a configuration; safe to share between threads."""

    def __init__(self, config: Config) -> None:
        given = variables(config)
        types = {OBJECT: cel.Type.DYN, **{f"variables.{name}": cel.Type.DYN for name in given}}
        environment = cel.NewEnv(variables=types)
        self._variables = [(f"variables.{name}", environment.compile(text)) for name, text in given.items()]
        self._rules = [(rule, environment.compile(rule.expression)) for rule in rules(config)]

    def broken(self, pod: Document) -> list[Rule]:
        """The rules that the pod breaks, in their order. Raises InvalidInput for a document nested absurdly deep."""
        data: dict[str, Any] = {OBJECT: without_nulls(pod)}
        for name, program in self._variables:
            data[name] = _value(program, data)
        return [rule for rule, program in self._rules if _value(program, data) is not True]


def as_problems(broken: Iterable[Rule]) -> tuple[Problem, ...]:
    """For people and for the API server's answer."""
    return tuple(
        Problem(path=rule.path, code=rule.code, message=rule.message, hint=rule.hint) for rule in broken
    )


def _value(program: Any, data: dict[str, Any]) -> Any:
    try:
        result = program.eval(data=data)
        # in CEL an error is a value
        return None if result.type() == cel.Type.ERROR else _plain(result.value())
    except Exception:
        # RuntimeError, TypeError or ValueError of the binding: the expression has no value for this pod
        return None


def _plain(value: Any) -> Any:
    """What one expression gave, as what the next one takes: the binding hands out wrapped values within containers."""
    if hasattr(value, "value") and not isinstance(value, dict | list | str | bytes):
        return _plain(value.value())
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(each) for key, each in value.items()}
    return value
