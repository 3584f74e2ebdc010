"""Text of a document (YAML or JSON) turned into plain values: the first thing that happens to an authored policy.

Stricter than YAML's own rules, because a policy must mean what it looks like: no duplicate keys, no tags, and only
null, true/false and decimal numbers are anything but text (so `no`, 2026-01-01, 12:30:00 and 0755 stay text).
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from bartizan.errors import Problem

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_NODES = 20_000
"""Counted after aliases are expanded, so that a few lines can't become millions of values."""

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})", re.ASCII)
# As many decimals as Python writes of any number without an exponent.
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})(\.[0-9]{1,21})?([eE][-+]?[0-9]{1,3})?", re.ASCII)
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
_HINTS = {
    "cannot start any token": "indent with spaces, not tabs; quote a text that begins with @ or `",
    "did not find expected": "is it indented as its neighbours? the line before may be unfinished",
}
_ONE = "make a file of each; `bartizan policy validate` alone takes several at once"
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Unreadable(Exception):
    """Nothing can be said about the rest of the document."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def join(path: str, step: str | int) -> str:
    """One step deeper in a document path: "spec.input" and 2 give "spec.input[2]"."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    if not _PLAIN_KEY.fullmatch(step):
        return f"{path}[{json.dumps(step)}]"
    return f"{path}.{step}" if path else step


def load_document(text: str | bytes) -> tuple[Any, list[Problem]]:
    """The document and the problems that did not keep it from being read (duplicate keys). Raises Unreadable."""
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise _unreadable("too_large", f"{size} bytes; a policy has at most {MAX_BYTES}")
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _unreadable("malformed", f"not UTF-8 at byte {error.start}") from None
    text = text.removeprefix("\ufeff")
    if text.lstrip().startswith("{"):
        try:
            return _load_json(text)
        except (ValueError, RecursionError):
            pass  # a YAML flow mapping also begins like that, and YAML's messages name line and column
    return _load_yaml(text)


def check_tree(document: Any) -> None:
    """Bound any value to what JSON can say: depth, number of values, text keys, real Unicode. Raises Unreadable."""
    count = 0
    stack: list[tuple[Any, str, int]] = [(document, "", 0)]
    while stack:
        value, path, depth = stack.pop()
        count += 1
        if count > MAX_NODES:
            raise _unreadable("too_large", f"more than {MAX_NODES} values")
        if depth > MAX_DEPTH:
            raise _unreadable("too_large", f"nested deeper than {MAX_DEPTH}", path[:200])
        match value:
            case dict():
                for key, item in value.items():
                    if not isinstance(key, str):
                        raise _unreadable("wrong_type", "every key must be text", path)
                    _check_text(key, path)
                    stack.append((item, join(path, key), depth + 1))
            case list():
                stack.extend((item, join(path, index), depth + 1) for index, item in enumerate(value))
            case str():
                _check_text(value, path)
            case float() if not math.isfinite(value):
                raise _unreadable("invalid_value", "numbers must be finite", path)
            case None | bool() | int() | float():
                pass
            case _:
                raise _unreadable("wrong_type", f"{type(value).__name__} is no JSON value", path)


def _check_text(text: str, path: str) -> None:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise _unreadable("invalid_value", "half of a surrogate pair is no text", path)


class _Dumper(yaml.SafeDumper):
    """Quotes texts that `load_document` would take for numbers: YAML itself knows "1e5" as a text, and we do not."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(rf"(?:{_FLOAT.pattern})\Z", re.ASCII), list("-+0123456789")
)


def dump_document(document: Any) -> str:
    """YAML that `load_document` reads as the same values."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False)


# --- JSON ---------------------------------------------------------------------------------------------------------


class _Object(dict[str, Any]):
    repeated: tuple[str, ...] = ()


def _load_json(text: str) -> tuple[Any, list[Problem]]:
    document = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse, parse_int=_integer)
    problems = []
    stack: list[tuple[Any, str]] = [(document, "")]
    while stack:
        value, path = stack.pop()
        if isinstance(value, dict):
            if isinstance(value, _Object):
                problems += [_duplicate(join(path, key), "") for key in value.repeated]
            stack.extend((item, join(path, key)) for key, item in value.items())
        elif isinstance(value, list):
            stack.extend((item, join(path, index)) for index, item in enumerate(value))
    return document, problems


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    result = _Object(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        result.repeated = tuple(dict.fromkeys(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return result


def _integer(text: str) -> int | float:
    return int(text) if len(text) <= 18 else float(text)


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


# --- YAML ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Container:
    """A mapping or sequence being read."""

    value: Any
    path: str
    anchor: str | None
    key: str | None = None
    lines: dict[str, int] = field(default_factory=dict)
    nodes: int = 1


def _load_yaml(text: str) -> tuple[Any, list[Problem]]:
    """Built from parser events without recursion: neither depth nor aliases can exhaust anything."""
    try:
        return _Builder().build(text)
    except yaml.MarkedYAMLError as error:
        where = error.problem_mark or error.context_mark
        place = f"line {where.line + 1}, column {where.column + 1}: " if where else ""
        what = error.problem or error.context or "no YAML"
        hint = next((hint for part, hint in _HINTS.items() if part in what), "")
        raise _unreadable("malformed", f"{place}{what}", hint=hint) from None
    except yaml.YAMLError:
        raise _unreadable("malformed", "no YAML: it holds characters that text can't have") from None


class _Builder:
    def __init__(self) -> None:
        self.stack: list[_Container] = []
        self.problems: list[Problem] = []
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.total = 0
        self.root: list[Any] = []

    def build(self, text: str) -> tuple[Any, list[Problem]]:
        for event in yaml.parse(text, Loader=LOADER):
            line = event.start_mark.line + 1 if event.start_mark else 0
            if getattr(event, "tag", None) is not None:
                raise _unreadable(
                    "malformed", f"line {line}: tags are not part of the language", self._path()
                )
            match event:
                case yaml.MappingStartEvent():
                    self._open({}, event.anchor, line)
                case yaml.SequenceStartEvent():
                    self._open([], event.anchor, line)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._close(line)
                case yaml.ScalarEvent():
                    container = self.stack[-1] if self.stack else None
                    if container and isinstance(container.value, dict) and container.key is None:
                        self._key(container, event.value, line)
                    else:
                        self._add(_scalar(event), event.anchor, 1, 1, line)
                case yaml.AliasEvent():
                    if event.anchor not in self.anchors:
                        raise _unreadable(
                            "malformed", f"line {line}: alias of an unknown anchor", self._path()
                        )
                    value, nodes = self.anchors[event.anchor]
                    self._add(value, None, nodes, nodes, line)
                case yaml.DocumentStartEvent() if self.root:
                    raise _unreadable("malformed", f"line {line}: a second document; expected one", hint=_ONE)
                case _:
                    pass
        if not self.root:
            raise _unreadable("malformed", "the document is empty")
        return self.root[0], self.problems

    def _path(self) -> str:
        if not self.stack:
            return ""
        top = self.stack[-1]
        if isinstance(top.value, list):
            return join(top.path, len(top.value))
        return join(top.path, top.key) if top.key is not None else top.path

    def _open(self, value: Any, anchor: str | None, line: int) -> None:
        if self.stack and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None:
            raise _unreadable("malformed", f"line {line}: a key must be plain text", self._path())
        if len(self.stack) >= MAX_DEPTH:
            raise _unreadable("too_large", f"line {line}: nested deeper than {MAX_DEPTH}")
        self.stack.append(_Container(value, self._path(), anchor))

    def _close(self, line: int) -> None:
        done = self.stack.pop()
        self._add(done.value, done.anchor, done.nodes, 1, line)

    def _key(self, container: _Container, key: str, line: int) -> None:
        if key in container.lines:
            where = f"lines {container.lines[key]} and {line}"
            self.problems.append(_duplicate(join(container.path, key), where))
        container.lines.setdefault(key, line)
        container.key = key

    def _add(self, value: Any, anchor: str | None, nodes: int, new: int, line: int) -> None:
        self.total += new
        if self.total > MAX_NODES:
            raise _unreadable("too_large", f"line {line}: more than {MAX_NODES} values (aliases expanded)")
        if anchor is not None:
            self.anchors[anchor] = (value, nodes)
        if not self.stack:
            self.root.append(value)
            return
        container = self.stack[-1]
        container.nodes += nodes
        if isinstance(container.value, list):
            container.value.append(value)
        elif container.key is None:
            raise _unreadable("malformed", f"line {line}: a key must be plain text", self._path())
        else:
            container.value[container.key] = value
            container.key = None


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    if not event.implicit[0]:  # quoted or block text
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else text
    return text


def _duplicate(path: str, where: str) -> Problem:
    message = f"stands twice ({where})" if where else "stands twice"
    return Problem(path=path, code="duplicate_field", message=message, hint="keep one of them")


def _unreadable(code: str, message: str, path: str = "", hint: str = "") -> Unreadable:
    return Unreadable(Problem(path=path, code=code, message=message, hint=hint))
