"""Scores of an answer: which of them are ranked together, and what each is the score of.

Model servers write the same in many shapes: a mapping of labels to scores, `[label, score]` pairs (TF-Serving), objects
with a label and a score (pipelines), lists of labels and of scores side by side, tensors whose rows stand in one list.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

Path = tuple[str | int, ...]
"""As in json_text.py, which imports what imports this."""
_LABELS = ("label", "class", "class_name", "classname", "category", "name", "prediction", "entity", "tag")
"""Members that say what the one fraction beside them is the score of."""
_LABEL_LISTS = ("labels", "classes", "class_names", "classnames", "categories", "names")
_CLASS = re.compile(r"(-?\d+\.\d+(?:[eE][+-]?\d+)?):(\d+)(?::(.*))?\Z", re.DOTALL | re.ASCII)
"""Triton's classification extension: a caller who asks for it gets scores as text."""
_FRACTION = re.compile(r"-?\d+\.\d+(?:[eE][+-]?\d+)?\Z", re.ASCII)

_Rule = Callable[[Any], tuple[Path, str | None]]


class ScorePart(msgspec.Struct, frozen=True, gc=False):
    """A score as checks see it. `group`: the same for scores that are ranked together. `label`: None where none is known."""

    location: str
    value: float
    group: Path = ()
    label: str | None = None


class ScoreAt(msgspec.Struct, frozen=True, gc=False):
    """A score and where it stands; with `number` at the beginning of the string `written`."""

    path: Path
    value: float
    group: Path = ()
    label: str | None = None
    number: str = ""
    written: str = ""


def score_in(text: str, path: Path) -> ScoreAt | None:
    """The score that a string holds, if it holds nothing else but what Triton writes behind it."""
    if not text[:1].isdigit() and text[:1] != "-":
        return None
    found = _FRACTION.match(text)
    number, label = (text, None) if found else ("", None)
    if found is None and (entry := _CLASS.match(text)) is not None:
        number, label = entry[1], entry[3] if entry[3] is not None else entry[2]
    value = float(number) if number else math.inf
    return ScoreAt(path, value, (), label, number, text) if math.isfinite(value) else None


def placed(root: Any, found: Sequence[ScoreAt]) -> list[ScoreAt]:
    """The same scores with their groups and labels."""
    rules: dict[Path, _Rule] = {}
    out: list[ScoreAt] = []
    for at in found:
        if not at.path:
            out.append(at)
            continue
        above = at.path[:-1]
        rule = rules.get(above)
        if rule is None:
            rule = rules[above] = _rule(root, above)
        group, label = rule(at.path[-1])
        label = label if at.label is None else at.label
        out.append(ScoreAt(at.path, at.value, group, label, at.number, at.written))
    return out


def _rule(root: Any, above: Path) -> _Rule:
    """How the scores of one list or mapping are grouped and called."""
    outer: Any = None
    here = root
    for step in above:
        outer, here = here, here[step]
    listed = isinstance(outer, list)
    if isinstance(here, dict):
        if (label := _label(here)) is not None:
            return lambda key: ((*above[:-1], key) if listed else (*above, key), label)
        return lambda key: (above, key)
    if listed and len(here) == 2 and sum(isinstance(item, str) for item in here) == 1:
        (said,) = (item for item in here if isinstance(item, str))
        return lambda index: (above[:-1], None if index == here.index(said) else said)
    labels = _beside(outer, here) if isinstance(outer, dict) else None
    row = _row(outer, len(here)) if isinstance(outer, dict) and above[-1] == "data" else len(here)
    if labels is None and row == len(here):
        return lambda _: (above, None)
    return lambda index: ((*above, index // row), None if labels is None else labels[index])


def _label(here: dict[str, Any]) -> str | None:
    """What a mapping says that its one fraction is the score of; None where its keys say it."""
    if sum(isinstance(item, float) or _is_score(item) for item in here.values()) != 1:
        return None
    said = {
        key.casefold(): item for key, item in here.items() if isinstance(item, str) and not _is_score(item)
    }
    return next((said[name] for name in _LABELS if name in said), None)


def _is_score(item: Any) -> bool:
    return isinstance(item, str) and _FRACTION.match(item) is not None


def _beside(outer: dict[str, Any], scores: list[Any]) -> list[str] | None:
    """The one list of as many strings beside a list of scores; of several the one that is called so."""
    lists = {
        key.casefold(): item
        for key, item in outer.items()
        if item is not scores
        and isinstance(item, list)
        and len(item) == len(scores)
        and all(isinstance(label, str) and not _is_score(label) for label in item)
    }
    if len(lists) == 1:
        return next(iter(lists.values()))
    return next((lists[name] for name in _LABEL_LISTS if name in lists), None)


def _row(tensor: dict[str, Any], size: int) -> int:
    """How many elements of a tensor's flat list are a row."""
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(type(step) is int and step > 0 for step in shape):
        return size
    return shape[-1] if len(shape) > 1 and math.prod(shape) == size else size
