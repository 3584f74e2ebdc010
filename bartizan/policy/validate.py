"""Is this document a policy? Every error at once, each with its path in the authored document.

Second stop on a policy's way: text -> values (documents.py) -> structure (structure.py) beside meaning (meaning.py)
-> ModelPolicy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from bartizan.errors import PolicyInvalid, Problem
from bartizan.policy.authored import dump_policy, to_tagged
from bartizan.policy.documents import Unreadable, check_tree, load_document
from bartizan.policy.meaning import problems_of_meaning
from bartizan.policy.planned import planned_value
from bartizan.policy.schema import ModelPolicy
from bartizan.policy.structure import structural_problems

__all__ = ["dump_policy", "parse_policy", "validate_document"]

MAX_PROBLEMS = 200
"""More than anyone reads; bounds the answer to a hostile document."""


def parse_policy(text: str | bytes) -> ModelPolicy:
    """The policy in a YAML or JSON text. Raises PolicyInvalid with every problem."""
    try:
        document, duplicates = load_document(text)
    except Unreadable as unreadable:
        raise _invalid([unreadable.problem]) from None
    return _validate(document, duplicates)


def validate_document(document: object) -> ModelPolicy:
    """The policy in a decoded document of authored form. Raises PolicyInvalid with every problem."""
    return _validate(document, [])


def _validate(document: Any, problems: list[Problem]) -> ModelPolicy:
    try:
        check_tree(document)
    except Unreadable as unreadable:
        raise _invalid([unreadable.problem]) from None
    if not isinstance(document, dict):
        message = "expected a mapping with apiVersion, kind, metadata and spec"
        raise _invalid([*problems, Problem(path="", code="wrong_type", message=message)])
    planned = planned_value("kind", document.get("kind"))
    if planned:  # a document of another kind: nothing else of it can be judged
        message = f"{planned}: planned, but not enforced by this release"
        raise _invalid(
            [Problem(path="kind", code="unsupported", message=message, hint="write a ModelPolicy")]
        )
    structural = structural_problems(document)
    known = {problem.path for problem in structural}
    meaning = [problem for problem in problems_of_meaning(document) if problem.path not in known]
    if problems or structural or meaning:
        raise _invalid([*problems, *structural, *meaning])
    try:
        return msgspec.convert(to_tagged(document), ModelPolicy)
    except (
        msgspec.ValidationError
    ) as error:  # the schema promises that this can't happen; refuse all the same
        message, _, path = str(error).partition(" - at `$")
        place = path.rstrip("`").lstrip(".")
        raise _invalid([Problem(path=place, code="invalid_value", message=message)]) from None


def _invalid(problems: Iterable[Problem]) -> PolicyInvalid:
    found = sorted(set(problems), key=lambda problem: (problem.path, problem.code, problem.message))
    count = len(found)
    summary = "the policy has one problem" if count == 1 else f"the policy has {count} problems"
    if count > MAX_PROBLEMS:
        summary += f"; the first {MAX_PROBLEMS} are"
    return PolicyInvalid(summary, found[:MAX_PROBLEMS])
