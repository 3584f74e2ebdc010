"""The one CEL environment: authorization rules are checked here when a policy is written and evaluated in the guard.

Attributes are declared one by one as dotted variables ("identity.region"), not as messages: unknown names and wrong
types are compile errors both ways, but messages cost a conversion on every evaluation (11 instead of 4 microseconds).
Source of the language: https://github.com/google/cel-spec/blob/master/doc/langdef.md
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, Final

from cel_expr_python import cel

from bartizan.errors import ExpressionFailed, InvalidInput, Problem

MAX_LENGTH = 2048
_TEXT, _INT, _BOOL = cel.Type.STRING, cel.Type.INT, cel.Type.BOOL

VARIABLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "identity": {
        "subject": _TEXT,
        "tenant": _TEXT,
        "method": _TEXT,
        "key_id": _TEXT,
        "plan": _TEXT,
        "region": _TEXT,
        "models": cel.Type.List(_TEXT),
    },
    "request": {
        "method": _TEXT,
        "path": _TEXT,
        "source_address": _TEXT,
        "model": _TEXT,
        "stream": _BOOL,
        "max_tokens": _INT,
    },
    "model": {"name": _TEXT, "protocol": _TEXT, "labels": cel.Type.Map(_TEXT, _TEXT)},
}
"""What rules may name. Every attribute always has a value: unknown ones are "", 0, false or empty."""

BODY_ATTRIBUTES: Final = frozenset({"request.model", "request.stream", "request.max_tokens"})
"""Known only after the body was read, so that rules naming them are decided later."""

_TYPES = {f"{root}.{field}": kind for root, fields in VARIABLES.items() for field, kind in fields.items()}
_ENVIRONMENT = cel.NewEnv(variables=_TYPES)
_HEADERS_ONLY = cel.NewEnv(
    variables={name: kind for name, kind in _TYPES.items() if name not in BODY_ATTRIBUTES}
)
_EMPTY: Mapping[str, Any] = {"STRING": "", "INT": 0, "BOOL": False, "LIST": [], "MAP": {}}
_SAMPLE = {name: _EMPTY[kind.name().partition("<")[0].upper()] for name, kind in _TYPES.items()}
_ISSUE = re.compile(r"ERROR: <input>:(\d+):(\d+): ([^\n]+)")
_UNDECLARED = re.compile(r"undeclared reference to '([^']+)'")


class Expression:
    """A compiled rule. Immutable, so that threads may share it."""

    __slots__ = ("_names", "_program", "text", "uses_body")

    def __init__(
        self, text: str, program: Any, names: tuple[tuple[str, str, str], ...], uses_body: bool
    ) -> None:
        self.text: Final = text
        self.uses_body: Final = uses_body
        """Whether it asks for request.model, request.stream or request.max_tokens."""
        self._program = program
        self._names = names

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def evaluate(
        self, identity: Mapping[str, Any], request: Mapping[str, Any], model: Mapping[str, Any]
    ) -> bool:
        """The rule's value for one request. Raises ExpressionFailed, whose message repeats nothing of the request."""
        roots = {"identity": identity, "request": request, "model": model}
        try:
            data = {name: roots[root][field] for name, root, field in self._names}
            if "identity.models" in data:
                data["identity.models"] = list(data["identity.models"])  # the binding takes no tuples
            value = self._program.eval(data=data).value()
        except Exception as error:
            # RuntimeError, TypeError or ValueError of the binding; not chained, they may quote the request
            raise ExpressionFailed(f"evaluation failed: {type(error).__name__}") from None
        if value is True or value is False:
            return value
        # an error is a value in CEL; its text may hold parts of the request
        raise ExpressionFailed(f"evaluation failed: {str(value).partition(':')[0][:32]}")


def compile_expression(text: str) -> Expression:
    """Check names and types, and require a bool. Raises InvalidInput with one Problem per error (path "")."""
    if len(text) > MAX_LENGTH:
        raise _invalid([(f"longer than {MAX_LENGTH} characters", "")])
    try:
        program = _ENVIRONMENT.compile(text)
    except (
        Exception
    ) as error:  # the binding's own type is RuntimeError, text that it can't encode gives others
        raise _invalid(_issues(str(error))) from None
    kind = program.return_type().name()
    if kind != "BOOL":
        hint = "attributes always exist; compare them with '' instead of has()" if "has(" in text else ""
        raise _invalid([(f"the rule's value is {kind}, it must be BOOL (true or false)", hint)])
    _try_out(program)
    words = set(re.findall(r"\w+", text))
    # a superset of what the rule reads: every reference holds both words, whatever stands between them
    names = tuple(
        (f"{root}.{field}", root, field)
        for root, fields in VARIABLES.items()
        for field in fields
        if root in words and field in words
    )
    return Expression(text, program, names, not _compiles_without_body(text))


def _try_out(program: Any) -> None:
    """Refuse what fails whatever the request is: a broken regular expression, loops over the engine's budget."""
    try:
        outcome = str(program.eval(data=_SAMPLE).value())
    except RuntimeError as error:
        outcome = str(error)
    if "invalid regular expression" in outcome:
        raise _invalid([(outcome.partition(": ")[2], "patterns are RE2")])
    if "budget exceeded" in outcome:
        raise _invalid([("its loops take too many steps", "nest fewer of them")])


def _compiles_without_body(text: str) -> bool:
    try:
        _HEADERS_ONLY.compile(text)
    except Exception:
        return False
    return True


def _issues(report: str) -> list[tuple[str, str]]:
    """Message and hint of each error in the compiler's report."""
    found = []
    for _, column, message in _ISSUE.findall(report):
        clean = message.replace(" (in container '')", "").removesuffix(" [INVALID_ARGUMENT]")
        undeclared = _UNDECLARED.search(clean)
        hint = _nearest(undeclared[1]) if undeclared else ""
        if "token recognition error at: '=" in clean:
            hint = "values are compared by =="
        found.append((f"column {column}: {clean}", hint))
    return found or [("not a CEL expression: " + report.splitlines()[0][:200] if report else "empty", "")]


def _nearest(name: str) -> str:
    root, _, field = name.partition(".")
    if root in VARIABLES:
        close = difflib.get_close_matches(field, VARIABLES[root], n=1)
        if close:
            return f"did you mean {root}.{close[0]}?"
        return f"{root} has: {', '.join(VARIABLES[root])}"
    return f"rules may name {', '.join(VARIABLES)}"


def _invalid(issues: list[tuple[str, str]]) -> InvalidInput:
    problems = [Problem(path="", code="invalid_expression", message=m, hint=h) for m, h in issues]
    return InvalidInput("the expression does not compile", problems)
