"""Is this document a policy? Every error at once, each with its path in the authored document.

Second stop on a policy's way: text -> values (documents.py) -> structure (structure.py) beside meaning (meaning.py)
-> ModelPolicy or MeshPolicy. A ModelPolicy that MeshPolicies touch is judged as a whole in effective.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from bartizan.errors import PolicyInvalid, Problem
from bartizan.policy.authored import dump_policy, tagged_spec, to_tagged
from bartizan.policy.defaults import NAMESPACE
from bartizan.policy.documents import Unreadable, check_tree, load_document
from bartizan.policy.meaning import problems_of_meaning, problems_of_mesh
from bartizan.policy.mesh import PARTS, MeshPolicy
from bartizan.policy.reading import at
from bartizan.policy.schema import ModelPolicy
from bartizan.policy.structure import structural_problems

__all__ = [
    "Mesh",
    "Written",
    "dump_policy",
    "parse_policy",
    "read_mesh",
    "read_policy",
    "validate_document",
]

_Kind = TypeVar("_Kind", ModelPolicy, MeshPolicy)
MAX_PROBLEMS = 200
"""More than anyone reads; bounds the answer to a hostile document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A document as somebody wrote it, of either kind, not yet judged. problems: found while reading its text."""

    document: dict[str, Any]
    problems: tuple[Problem, ...] = ()

    @property
    def is_mesh(self) -> bool:
        return self.document.get("kind") == "MeshPolicy"

    @property
    def qualified_name(self) -> str:
        """As ModelPolicy.qualified_name; of a wrong document something that names nothing."""
        namespace = at(self.document, "metadata", "namespace", default=NAMESPACE)
        return f"{namespace}/{at(self.document, 'metadata', 'name', default='')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """A valid MeshPolicy, and its document as it was written."""

    policy: MeshPolicy
    document: dict[str, Any]


def read_policy(text: str | bytes) -> Written:
    """A document of either kind. Raises PolicyInvalid when nothing can be read of it."""
    try:
        document, problems = load_document(text)
    except Unreadable as unreadable:
        raise invalid([unreadable.problem]) from None
    return _written(document, problems)


def parse_policy(text: str | bytes) -> ModelPolicy:
    """The ModelPolicy in a YAML or JSON text. Raises PolicyInvalid with every problem."""
    return _model_policy(read_policy(text))


def validate_document(document: object) -> ModelPolicy:
    """The ModelPolicy in a decoded document of authored form. Raises PolicyInvalid with every problem."""
    return _model_policy(_written(document, []))


def read_mesh(written: Written) -> Mesh:
    """The MeshPolicy in a document. Raises PolicyInvalid with every problem that no endpoint is needed for."""
    document = written.document
    _refuse_any([*written.problems, *_structure_and(problems_of_mesh(document), document)])
    spec = {name: tagged_spec(part) if name in PARTS else part for name, part in document["spec"].items()}
    return Mesh(policy=convert({**document, "spec": spec}, MeshPolicy), document=document)


def problems_of(document: dict[str, Any]) -> list[Problem]:
    """Everything wrong with a ModelPolicy's document: structure and meaning."""
    return _structure_and(problems_of_meaning(document), document)


def invalid(problems: Iterable[Problem]) -> PolicyInvalid:
    """The refusal of a policy: sorted, without repetition, bounded."""
    found = sorted(frozenset(problems), key=lambda each: (each.document, each.path, each.code, each.message))
    count = len(found)
    summary = "the policy has one problem" if count == 1 else f"the policy has {count} problems"
    if count > MAX_PROBLEMS:
        summary += f"; the first {MAX_PROBLEMS} are"
    return PolicyInvalid(summary, found[:MAX_PROBLEMS])


def as_model_policy(document: dict[str, Any]) -> ModelPolicy:
    """The types of a document without problems."""
    return convert(to_tagged(document), ModelPolicy)


def refuse_mesh(written: Written) -> None:
    """Raises PolicyInvalid for a MeshPolicy where a ModelPolicy is wanted."""
    if written.is_mesh:
        message = "is a MeshPolicy; expected a ModelPolicy"
        raise invalid([Problem(path="kind", code="invalid_value", message=message)])


def _model_policy(written: Written) -> ModelPolicy:
    refuse_mesh(written)
    _refuse_any([*written.problems, *problems_of(written.document)])
    return as_model_policy(written.document)


def _written(document: Any, problems: Iterable[Problem]) -> Written:
    try:
        check_tree(document)
    except Unreadable as unreadable:
        raise invalid([unreadable.problem]) from None
    if not isinstance(document, dict):
        message = "expected a mapping with apiVersion, kind, metadata and spec"
        raise invalid([*problems, Problem(path="", code="wrong_type", message=message)])
    return Written(document=document, problems=tuple(problems))


def _structure_and(meaning: Iterable[Problem], document: dict[str, Any]) -> list[Problem]:
    structural = structural_problems(document)
    known = {problem.path for problem in structural}
    return [*structural, *(problem for problem in meaning if problem.path not in known)]


def _refuse_any(problems: list[Problem]) -> None:
    if problems:
        raise invalid(problems)


def convert(document: dict[str, Any], kind: type[_Kind]) -> _Kind:
    """The schema promises that this succeeds; refuses all the same where it does not."""
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        place = path.rstrip("`").lstrip(".")
        raise invalid([Problem(path=place, code="invalid_value", message=message)]) from None
