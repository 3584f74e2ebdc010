"""A policy document as an immutable revision: its canonical bytes, its digest, and whether two selectors could meet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from bartizan.errors import Conflict, Problem
from bartizan.policy.canonical import canonical
from bartizan.policy.schema import ModelPolicy
from bartizan.policy.validate import validate_document


class PolicyConflict(Conflict):
    """Two policies could select the same sidecar; `problems` name both."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problem.message for problem in self.problems))


def document_of(policy: ModelPolicy) -> str:
    """The canonical JSON of a document as authored (defaults left out): equal documents give equal text."""
    document: dict[str, Any] = msgspec.to_builtins(policy)
    for side in ("input", "output"):
        checks = document["spec"].get(side)
        if checks is not None:
            document["spec"][side] = [_authored(check) for check in checks]
    _drop_empty(document["spec"].get("limits", {}), "body")
    _drop_empty(document["spec"], "limits", "failure", "telemetry")
    return canonical(document).decode()


def _drop_empty(parent: dict[str, Any], *names: str) -> None:
    """A part whose every field has its default reads as if it were not there; msgspec leaves it as {}."""
    for name in names:
        if parent.get(name) == {}:
            del parent[name]


def _authored(check: dict[str, Any]) -> dict[str, Any]:
    """A tagged check in the form that authors write: {"pii": {…}}."""
    settings = dict(check)
    return {settings.pop("check"): settings}


def digest_of(document: str) -> str:
    """Hex SHA-256 of a canonical document."""
    return hashlib.sha256(document.encode()).hexdigest()


def policy_of(document: str) -> ModelPolicy:
    """A stored revision as types again. Raises PolicyInvalid when this release no longer accepts it."""
    return validate_document(plain(document))


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
