"""In which line of its text each part of a document stands, for problems that people look up in their editor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import yaml

from bartizan.errors import PolicyInvalid, Problem
from bartizan.policy.documents import LOADER, Unreadable, join, load_document


def located(refused: PolicyInvalid, text: str | bytes, name: str) -> PolicyInvalid:
    """The same refusal of the document in `text`, with the document's name and, where they are known, its lines."""
    return PolicyInvalid(f"{name}: {refused.summary}", with_lines(refused.problems, text))


def with_lines(problems: Iterable[Problem], text: str | bytes) -> list[Problem]:
    """The same problems; those of the document in `text` with its lines."""
    lines = lines_of(text)
    return [each if each.document else _at(each, lines) for each in problems]


def lines_of(text: str | bytes) -> dict[str, int]:
    """Line by document path, from 1: of a member its key's, of an item its first. Empty for what can't be read."""
    try:
        load_document(text)  # bounds depth and aliases
        root = yaml.compose(text, Loader=LOADER)
    except (Unreadable, yaml.YAMLError):
        return {}
    lines: dict[str, int] = {}
    for path, line in _walk(root, ""):
        lines.setdefault(path, line)
    return lines


def _walk(node: yaml.Node | None, path: str) -> Iterator[tuple[str, int]]:
    match node:
        case yaml.MappingNode():
            for key, value in node.value:
                below = join(path, str(key.value))
                yield below, key.start_mark.line + 1
                yield from _walk(value, below)
        case yaml.SequenceNode():
            for index, item in enumerate(node.value):
                below = join(path, index)
                yield below, item.start_mark.line + 1
                yield from _walk(item, below)


def _at(problem: Problem, lines: dict[str, int]) -> Problem:
    """What is missing stands nowhere: then the line of the mapping that should have it."""
    path = problem.path
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["))] if "." in path or "[" in path else ""
    return replace(problem, line=lines[path]) if path else problem
