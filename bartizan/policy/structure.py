"""Structural problems of an authored policy, all at once: the JSON schema's verdicts said in words an author knows."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from jsonschema import Draft202012Validator, ValidationError, validators

from bartizan.errors import Problem
from bartizan.policy import checks
from bartizan.policy import schema as language
from bartizan.policy.authored import CHECK_LISTS
from bartizan.policy.documents import join
from bartizan.policy.jsonschema import mesh_json_schema, policy_json_schema
from bartizan.policy.planned import generic, planned_field, planned_value
from bartizan.policy.quantities import Quantity

_KINDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}
_BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
    "minProperties": "at least {} entries",
    "maxProperties": "at most {} entries",
}
_NAME = "1 to 63 lower-case letters, digits and hyphens, beginning and ending with a letter or digit"
_ALIASES: tuple[tuple[Any, str], ...] = (
    (language.Name, _NAME),
    (language.FileReference, "file:NAME, a plain file name in the sidecar's certificate folder"),
    (Quantity, "a whole number with KiB, MiB or B, such as 1MiB"),
    (language.Rate, "a whole number per s, m or h, such as 50/s"),
    (language.FieldPath, "a field path such as $.text, $.items[*].text or $.scores[0]"),
    (language.RoutePath, "an absolute path without query, percent escapes or semicolons, such as /predict"),
)
PATTERNS: dict[str, str] = {get_args(alias)[1].pattern: meaning for alias, meaning in _ALIASES} | {
    r"^https://[^\s?#]{1,255}$": "an https:// URL without query",
    r"^https://[^\s#]{1,512}$": "an https:// URL",
    get_args(checks.HostPattern)[1].pattern: "a host name such as docs.example, or *.docs.example",
    get_args(checks.Sha256)[1].pattern: "a SHA-256 in 64 lower-case hex digits",
    get_args(checks.ToolName)[1].pattern: "a tool's name: letters, digits and _.:/-",
    get_args(checks.Region)[1].pattern: "a country by its two capital letters, such as DE",
    get_args(checks.Span)[1].pattern: "a whole number with s, m or h, such as 1h",
    r"^[a-z0-9-]{1,64}$": "a header name in lower case",
    r"^[A-Za-z0-9._-]{0,32} ?$": "up to 32 letters, digits and ._- and at most one space after them",
}
"""What each pattern of the schema means to an author. A test finds forgotten ones."""


_DOCUMENTS = ("ModelPolicy", "MeshPolicy")
_ENOUGH = 1000
"""A document with more problems is not worth reading to its end."""


def structural_problems(document: Any) -> list[Problem]:
    """Every field that is unknown, missing, of the wrong type, out of range, or planned but not enforced."""
    of_mesh = isinstance(document, dict) and document.get("kind") == "MeshPolicy"
    return _found(_MESH if of_mesh else _VALIDATOR, document)


def schema_problems(document: Any, schema: dict[str, Any]) -> list[Problem]:
    """The same for any other document of ours; what a pattern means is its description in the schema."""
    return _found(_Validator(schema), document)


def _found(validator: Any, document: Any) -> list[Problem]:
    found: dict[tuple[str, str], Problem] = {}
    for error in validator.iter_errors(document):
        for problem in _problems(error):
            found.setdefault((problem.path, problem.code), problem)
        if len(found) > _ENOUGH:
            break
    return list(found.values())


def _whole_pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    # Python's $ also matches before a final line break, ECMA's (what editors use) does not
    if isinstance(instance, str) and (instance.endswith("\n") or not re.search(pattern, instance)):
        yield ValidationError("pattern")


def _is_integer(_checker: Any, instance: Any) -> bool:
    # JSON Schema takes 8443.0 for an integer, msgspec does not
    return isinstance(instance, int) and not isinstance(instance, bool)


_extend: Any = validators.extend
_TYPES = Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
_Validator = _extend(Draft202012Validator, {"pattern": _whole_pattern}, type_checker=_TYPES)
_VALIDATOR, _MESH = _Validator(policy_json_schema()), _Validator(mesh_json_schema())


def _problems(error: ValidationError) -> Iterable[Problem]:
    path = ""
    for step in error.absolute_path:
        path = join(path, step)
    value: Any = error.validator_value
    instance: Any = error.instance
    planned = planned_value(path, error.instance)
    if planned:
        return [_unsupported(path, planned)]
    match error.validator:
        case "additionalProperties":
            known = list(error.schema.get("properties", {}))  # type: ignore[union-attr]
            return [_unknown(join(path, name), name, known) for name in instance if name not in known]
        case "required":
            return [
                Problem(
                    path=join(path, name),
                    code="missing_field",
                    message="is missing",
                    hint=_hint_of(error, name),
                )
                for name in value
                if name not in instance
            ]
        case "anyOf":
            return _best_branch(error, path)
        case "type":
            kinds = [value] if isinstance(value, str) else value
            expected = " or ".join(_KINDS.get(kind, kind) for kind in kinds)
            return [_problem(path, "wrong_type", f"expected {expected}, not {_kind_of(instance)}")]
        case "enum":
            if value == [_DOCUMENTS[0]]:
                value = _DOCUMENTS  # what is neither is judged as the kind that most documents are
            allowed = ", ".join(map(str, value))
            if not isinstance(instance, str):
                return [_problem(path, "wrong_type", f"expected one of: {allowed}; not {_kind_of(instance)}")]
            close = [each for each in value if each.lower() == instance.lower()] or difflib.get_close_matches(
                instance, value, n=1
            )
            hint = f"did you mean {close[0]}?" if close else ""
            return [_problem(path, "invalid_value", f"expected one of: {allowed}", hint)]
        case "pattern":
            meaning = PATTERNS.get(value) or error.schema.get("description", value)  # type: ignore[union-attr]
            return [_problem(path, "invalid_value", f"expected {meaning}")]
        case "minProperties" | "maxProperties" if _is_check(path):
            names = ", ".join(error.schema["properties"])  # type: ignore[index]
            return [
                _problem(path, "invalid_value", "one check for each entry of the list", f"one of: {names}")
            ]
        case str(keyword) if keyword in _BOUNDS:
            return [_problem(path, "invalid_value", f"expected {_BOUNDS[keyword].format(value)}")]
        case keyword:
            return [_problem(path, "invalid_value", f"breaks the schema's rule {keyword}")]


def _best_branch(error: ValidationError, path: str) -> Iterable[Problem]:
    """The problems of the one alternative that the author meant: the one whose type fits."""
    branches: dict[int, list[ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(int(inner.schema_path[0]), []).append(inner)
    here = len(error.absolute_path)
    meant = [
        inner
        for inner in branches.values()
        if not any(e.validator in {"type", "enum"} and len(e.absolute_path) == here for e in inner)
    ]
    if len(meant) == 1:
        return [problem for inner in meant[0] for problem in _problems(inner)]
    if generic(path) == "spec.listener.tls":
        return [_problem(path, "invalid_value", 'expected "none" or a mapping with cert and key')]
    return [_problem(path, "wrong_type", f"expected a mapping, not {_kind_of(error.instance)}")]


def _unknown(path: str, name: str, known: list[str]) -> Problem:
    planned = planned_field(path)
    if planned:
        return _unsupported(path, planned)
    if generic(path) == "spec.authz[].allow" and generic(path) != path:
        hint = "write what it closes as a deny rule"
        message = (
            "a MeshPolicy has deny rules only: one more allow rule would open what an endpoint's own close"
        )
        return _problem(path, "unknown_field", message, hint)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6) or [
        field for field in known if field.lower() == name.lower().replace("_", "").replace("-", "")
    ]
    direction = generic(path).removeprefix("spec.").partition("[]")[0]
    if _is_check(path.rpartition(".")[0]) and direction in CHECK_LISTS:
        other = next(d for d in CHECK_LISTS if d != direction)
        if name in _checks_of(other):
            return _problem(
                path, "unknown_field", f"is a check of spec.{other} only", f"move it to spec.{other}"
            )
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}" if len(known) <= 20 else ""
    return _problem(path, "unknown_field", "is not part of the language", hint)


def _checks_of(direction: str) -> Iterable[str]:
    spec = _VALIDATOR.schema["$defs"]["ModelPolicySpec"]["properties"]
    names: Iterable[str] = spec[direction]["items"]["properties"]
    return names


def _is_check(path: str) -> bool:
    return generic(path) in {f"spec.{direction}[]" for direction in CHECK_LISTS}


def _hint_of(error: ValidationError, name: str) -> str:
    properties = error.schema.get("properties", {})  # type: ignore[union-attr]
    description: str = properties.get(name, {}).get("description", "")
    return description


def _kind_of(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case str():
            return "text"
        case _:
            return "a number"


def _unsupported(path: str, what: str) -> Problem:
    message = f"{what}: planned, but not enforced by this release"
    return _problem(path, "unsupported", message, "leave it out; a policy promises only what is enforced")


def _problem(path: str, code: str, message: str, hint: str = "") -> Problem:
    return Problem(path=path, code=code, message=message, hint=hint)
