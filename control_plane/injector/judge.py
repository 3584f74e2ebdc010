"""Evaluates admission rules on an object, with the same CEL text that the API server gets. Pure.

An expression that fails is a rule that is broken: nothing is admitted for being strange.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from cel_expr_python import cel
from cel_expr_python.ext import ext_strings

from bartizan.errors import Problem
from control_plane.injector.config import Config
from control_plane.injector.pods import Document, without_nulls
from control_plane.injector.refusals import Namespace
from control_plane.injector.rule import Rule
from control_plane.injector.rules import rules, variables

_GIVEN: Final = ("object", "namespaceObject", "request")
_NOWHERE: Final = Namespace(name="")


class Judge:
    """Compiled once for some rules; safe to share between threads. variables: in the order in which they build on one another."""

    def __init__(self, judged: Sequence[Rule], named: Mapping[str, str]) -> None:
        types = dict.fromkeys((*_GIVEN, *(f"variables.{name}" for name in named)), cel.Type.DYN)
        environment = cel.NewEnv(variables=types, extensions=[ext_strings.ExtStrings()])
        self._variables = [(f"variables.{name}", environment.compile(text)) for name, text in named.items()]
        self._rules = [(rule, environment.compile(rule.expression)) for rule in judged]

    def broken(
        self, document: Document, namespace: Namespace = _NOWHERE, request: Document | None = None
    ) -> list[Rule]:
        """The rules that the object breaks, in their order. request: as in an AdmissionReview, where rules speak of it.

        Raises InvalidInput for a document nested absurdly deep.
        """
        metadata = {
            "name": namespace.name,
            "labels": dict(namespace.labels),
            "annotations": dict(namespace.annotations),
        }
        data: dict[str, Any] = {
            "object": without_nulls(document),
            "namespaceObject": {"metadata": metadata},
            "request": request or {},
        }
        for name, program in self._variables:
            data[name] = _value(program, data)
        return [rule for rule, program in self._rules if _value(program, data) is not True]


def pod_judge(config: Config) -> Judge:
    """For the pods of enforced namespaces."""
    return Judge(rules(config), variables(config))


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
        # RuntimeError, TypeError or ValueError of the binding: the expression has no value for this object
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
