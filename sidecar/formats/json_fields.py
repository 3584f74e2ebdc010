"""The format of classic models over JSON: the policy's routes name where text and scores are (`$.a.b[*].c[0]`).

A declared field that is missing or of another type is refused: passing it would be a hole in the checks. Answers
outside of 2xx (validation errors, stack traces) have no declared shape, so all their strings are text.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from bartizan.policy.schema import Route
from sidecar.formats.answers import decode_model_json, error_document, readable
from sidecar.formats.base import AnswerStream, Document, FormatError
from sidecar.formats.documents import JsonDocument, TextAt
from sidecar.formats.json_text import DEFAULT_DEPTH, KEY, Path, decode, location
from sidecar.formats.media_type import demand_json
from sidecar.formats.parameters import JSON_FIELDS, parameters
from sidecar.formats.plain_documents import OpaqueDocument
from sidecar.formats.problem import problem_body
from sidecar.formats.scores import ScoreAt, placed
from sidecar.formats.walk import scalars
from sidecar.model.decision import Cause
from sidecar.model.request import BodyFacts

_STEP = re.compile(r"\.(?P<key>[A-Za-z_][A-Za-z0-9_-]*)|\[(?P<index>\*|[0-9]+)\]")
_ALL = -1
UNDECLARED = "undeclared_fields"
"""The reason for strings and long numbers that stay unread because no route names them."""

Steps = tuple[str | int, ...]


class JsonFieldsFormat:
    """One protocol, its fields given per path. Routes that declare nothing of a direction leave it unread."""

    name = "json_fields"

    def __init__(self, routes: Iterable[Route], *, max_depth: int = DEFAULT_DEPTH) -> None:
        self._max_depth = max_depth
        self._input: dict[str, tuple[Steps, ...]] = {}
        self._output: dict[str, tuple[Steps, ...]] = {}
        self._scores: dict[str, tuple[Steps, ...]] = {}
        for route in routes:
            for table, fields in (
                (self._input, route.input_text),
                (self._output, route.output_text),
                (self._scores, route.output_scores),
            ):
                steps = tuple(parse_path(field) for field in fields)
                table[route.path] = table.get(route.path, ()) + steps

    def decode_request(self, path: str, content_type: str, body: bytes) -> Document:
        demand_json(content_type)
        text, value = decode(body, max_depth=self._max_depth, any_case=True)
        model = value.get("model") if isinstance(value, dict) else None
        if isinstance(value, dict) and any(key != "model" and key.casefold() == "model" for key in value):
            raise FormatError(Cause.MALFORMED_BODY, "a known field in another spelling")
        return JsonDocument(
            body,
            text,
            facts=BodyFacts(model=model if isinstance(model, str) else ""),
            texts=(texts := _texts(value, self._input.get(path, ()), Cause.MALFORMED_BODY)),
            unscanned=_undeclared(value, texts),
            parameters=parameters(value, JSON_FIELDS) if isinstance(value, dict) else (),
        )

    def decode_answer(self, path: str, content_type: str, body: bytes, status: int = 200) -> Document:
        if not 200 <= status < 300:
            return error_document(content_type, status, body, self._max_depth)
        texts, scores = self._output.get(path, ()), self._scores.get(path, ())
        if not texts and not scores:
            return OpaqueDocument(body)
        text, value = decode_model_json(content_type, body, self._max_depth)
        found: dict[Path, ScoreAt] = {}
        for steps in scores:
            for at, here in _resolve(value, steps, Cause.ANSWER_MALFORMED):
                found |= {score.path: score for score in _numbers(here, at)}
        declared = _texts(value, texts, Cause.ANSWER_MALFORMED)
        return JsonDocument(
            body,
            text,
            texts=declared,
            scores=placed(value, list(found.values())),
            unscanned=_undeclared(value, declared),
        )

    def reads_answer(self, path: str, content_type: str, status: int) -> bool:
        unread = not self._output.get(path) and not self._scores.get(path)
        return readable(content_type, status) or (unread and 200 <= status < 300)

    def answer_stream(self, path: str, content_type: str) -> AnswerStream | None:  # noqa: ARG002
        return None

    def error_body(self, status: int, message: str, decision_id: str) -> tuple[str, bytes]:
        return problem_body(status, message, decision_id)


def parse_path(field: str) -> Steps:
    """`$.a[*].b[0]` as steps; `[*]` is every element."""
    return tuple(
        step["key"] if step["key"] is not None else _ALL if step["index"] == "*" else int(step["index"])
        for step in _STEP.finditer(field)
    )


def _texts(value: Any, fields: Sequence[Steps], cause: Cause) -> list[TextAt]:
    found: dict[Path, TextAt] = {}
    for steps in fields:
        for path, here in _resolve(value, steps, cause):
            if not isinstance(here, str):
                raise FormatError(cause, f"declared text {location(path)} is not a string")
            found[path] = TextAt(path, here)
    return list(found.values())


def _undeclared(value: Any, declared: Sequence[TextAt]) -> Sequence[str]:
    """Whether the body has strings that no check is told of."""
    known = {at.path for at in declared}
    for path, text in scalars(value):
        if text and path not in known and path[-1:] != (KEY,):
            return (UNDECLARED,)
    return ()


def _resolve(value: Any, steps: Steps, cause: Cause) -> list[tuple[Path, Any]]:
    """Every value that the steps name. Raises FormatError where one is missing."""
    here: list[tuple[Path, Any]] = [((), value)]
    for step in steps:
        following: list[tuple[Path, Any]] = []
        for path, at in here:
            match step, at:
                case str(), dict() if step in at:
                    following.append(((*path, step), at[step]))
                case int(), list() if step == _ALL:
                    following += [((*path, index), item) for index, item in enumerate(at)]
                case int(), list() if 0 <= step < len(at):
                    following.append(((*path, step), at[step]))
                case _:
                    raise FormatError(cause, f"declared field {_written(steps)} is missing")
        here = following
    return here


def _numbers(value: Any, path: Path) -> list[ScoreAt]:
    """Numbers of a score field: one, or lists and objects of them."""
    match value:
        case bool():
            pass
        case int() | float() if abs(value) <= sys.float_info.max:
            return [ScoreAt(path, value)]
        case list():
            return [number for index, item in enumerate(value) for number in _numbers(item, (*path, index))]
        case dict():
            return [number for key, item in value.items() for number in _numbers(item, (*path, key))]
        case _:
            pass
    raise FormatError(Cause.ANSWER_MALFORMED, "a declared score is not a finite number")


def _written(steps: Steps) -> str:
    return "$" + "".join(
        f".{step}" if isinstance(step, str) else "[*]" if step == _ALL else f"[{step}]" for step in steps
    )
