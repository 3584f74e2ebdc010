"""A policy document as an immutable revision: its canonical bytes, its digest, and whether two selectors could meet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from bartizan.errors import Conflict, Problem
from bartizan.policy.authored import CHECK_LISTS
from bartizan.policy.canonical import canonical
from bartizan.policy.mesh import PARTS
from bartizan.policy.schema import ModelPolicy


class PolicyConflict(Conflict):
    """Two policies could select the same sidecar; `problems` name both."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problem.message for problem in self.problems))


def document_of(document: dict[str, Any]) -> str:
    """The canonical JSON of a document as it was written: equal documents give equal text.

    What was written and is the default stays: MeshPolicies fill only what was not written. A bare check gets its {}.
    """
    return canonical({**document, "spec": _with_settings(document["spec"])}).decode()


def _with_settings(spec: dict[str, Any]) -> dict[str, Any]:
    made = dict(spec)
    for name, value in spec.items():
        if name in PARTS:
            made[name] = _with_settings(value)
        elif name in CHECK_LISTS:
            made[name] = [{check: settings or {} for check, settings in each.items()} for each in value]
    return made


def digest_of(document: str) -> str:
    """Hex SHA-256 of a canonical document."""
    return hashlib.sha256(document.encode()).hexdigest()


def plain(document: str) -> dict[str, Any]:
    """A stored revision as plain values, whatever release wrote it."""
    return msgspec.json.decode(document, type=dict[str, Any])


def could_both_select(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether a sidecar may have labels that satisfy both: true unless one label is asked to have two values."""
    return all(other.get(key, value) == value for key, value in one.items())


class _Selector(msgspec.Struct, rename="camel"):
    match_labels: dict[str, str]


class _Spec(msgspec.Struct):
    selector: _Selector


class _Selecting(msgspec.Struct):
    """All that is read of other policies: the rest may be of another release, and validating hundreds takes seconds."""

    spec: _Spec


def check_conflicts(policy: ModelPolicy, others: Iterable[tuple[str, str]]) -> None:
    """Raises PolicyConflict when another policy could select a sidecar that this one selects.

    others: names and stored documents of this namespace's policies; its own are passed over. One whose selector can't
    be read could select anything, so it conflicts.
    """
    wanted = policy.spec.selector.match_labels
    problems: dict[str, Problem] = {}
    for name, document in others:
        if name == policy.qualified_name:
            continue
        try:
            labels = msgspec.json.decode(document, type=_Selecting).spec.selector.match_labels
        except msgspec.MsgspecError:
            problems[name] = _conflict(
                f"the selector of {name} can't be read by this release: it could select the same sidecar",
                f"delete {name}, or apply it anew with this release",
            )
            continue
        if could_both_select(wanted, labels):
            problems[name] = _conflict(
                f"{policy.qualified_name} and {name} could select the same sidecar",
                "give both selectors the same label with different values",
            )
    if problems:
        raise PolicyConflict(problem for _, problem in sorted(problems.items()))


def _conflict(message: str, hint: str) -> Problem:
    return Problem(path="spec.selector.matchLabels", code="policy_conflict", message=message, hint=hint)
