"""Strict JSON for hostile bodies: one decoder for every JSON format, and edits that leave all other bytes alone.

`decode` refuses what two parsers could read differently. `splice` finds the tokens to change and replaces only them:
big numbers, spacing and key order of the rest of the body stay as the client or the model wrote them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from json.decoder import JSONDecoder, scanstring  # type: ignore[attr-defined]
from typing import Any

from sidecar.formats.base import FormatError
from sidecar.model.decision import Cause

Path = tuple[str | int, ...]
"""Keys and indexes from the document's root to a value."""
KEY = -1
"""As the last step of a path: the key itself, not its value."""

DEFAULT_DEPTH = 32
# One that is not ended runs to the end: to give it up would cost as much again at every quote in it.
_STRINGS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_BRACKETS = re.compile(r"[\[\]{}]")
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_BLANK = re.compile(r"[ \t\n\r]+")
_FEW = 4
"""So many values are sought one by one; of more, all tokens are looked at once."""
_LINE_ENDS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}
_value = JSONDecoder().scan_once  # type: ignore[attr-defined]  # what json's own decoder is made of, not in its stubs
_string = scanstring
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_PLAIN_KEY = re.compile(r"[A-Za-z_$][\w$-]*", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")


class _Duplicate(ValueError):
    """A key stands twice in one object."""


def decode(body: bytes, *, max_depth: int = DEFAULT_DEPTH, any_case: bool = False) -> tuple[str, Any]:
    """The body's text and value. Raises FormatError with MALFORMED_BODY, DUPLICATE_KEYS or BODY_TOO_DEEP.

    `any_case`: keys of one object that differ only by case are duplicates too, as some readers take them for one.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError(Cause.MALFORMED_BODY, "not valid UTF-8") from None
    if text.startswith("\ufeff"):
        raise FormatError(Cause.MALFORMED_BODY, "starts with a byte order mark")
    if not text.strip(" \t\r\n"):
        raise FormatError(Cause.MALFORMED_BODY, "empty body")
    _limit_depth(text, max_depth)
    try:
        value = (_ANY_CASE if any_case else _DECODER).decode(text)
    except _Duplicate:
        raise FormatError(Cause.DUPLICATE_KEYS, "a key stands twice in one object") from None
    except (ValueError, RecursionError):
        raise FormatError(Cause.MALFORMED_BODY, "not valid JSON") from None
    if "\\" in text and _SURROGATE_ESCAPE.search(text) and has_surrogate(value):
        raise FormatError(Cause.MALFORMED_BODY, "an escaped surrogate without its pair")
    return text, value


def has_surrogate(value: object) -> bool:
    """Whether any string or key holds half a surrogate pair, which UTF-8 can't carry."""
    stack = [value]
    while stack:
        match stack.pop():
            case str() as text:
                if _SURROGATE.search(text):
                    return True
            case list() as items:
                stack.extend(items)
            case dict() as members:
                stack.extend(members.keys())
                stack.extend(members.values())
            case _:
                pass
    return False


def splice(text: str, replacements: Mapping[Path, str]) -> str:
    """`text` with the values at these paths replaced by JSON tokens; everything else stays as it stands.

    The text must have passed `decode`, and every path must name a value in it. A new key gets a number where its object
    has one like it: data of one would hide the other's.
    """
    replacements = _apart(text, replacements)
    out: list[str] = []
    done = 0
    few = len(replacements) <= _FEW and not any(KEY in path for path in replacements)
    found = (
        [(*span(text, path), token) for path, token in replacements.items()]
        if few
        else _locate(text, replacements)
    )
    for start, end, token in sorted(found):
        out += (text[done:start], token)
        done = end
    out.append(text[done:])
    return "".join(out)


def string_token(text: str) -> str:
    """A string as JSON."""
    return as_json(text)


def as_json(value: Any) -> str:
    """JSON in one line for whoever reads it: some take more characters for line ends than JSON escapes."""
    return json.dumps(value, ensure_ascii=False).translate(_LINE_ENDS)


def location(path: Path) -> str:
    """A path as people write it: ("choices", 0, "text") is "choices[0].text". No two paths are written alike."""
    out = ""
    for step in path:
        if isinstance(step, int):
            out += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            out += f".{step}" if out else step
        else:
            out += f"[{string_token(step)}]"
    return out


def _limit_depth(text: str, max_depth: int) -> None:
    """Before the recursive decoder runs, because depth is what kills it."""
    if text.count("[") + text.count("{") <= max_depth:
        return
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub("", text)):
        if bracket in "[{":
            depth += 1
            if depth > max_depth:
                raise FormatError(Cause.BODY_TOO_DEEP, f"nested deeper than {max_depth}")
        else:
            depth -= 1


def _apart(text: str, replacements: Mapping[Path, str]) -> Mapping[Path, str]:
    """The same replacements, with new keys that no other key of their object is like."""
    renamed = [path for path in replacements if path[-1:] == (KEY,)]
    if not renamed:
        return replacements
    root = json.loads(text)
    taken: dict[Path, set[str | int]] = {}
    counts: dict[tuple[Path, str], int] = {}
    out = dict(replacements)
    for path in renamed:
        above, old = path[:-2], path[-2]
        if above not in taken:
            here = root
            for step in above:
                here = here[step]
            taken[above] = set(here)
        taken[above].discard(old)
    for path in renamed:
        above = path[:-2]
        name = free = json.loads(out[path])
        number = counts.get((above, name), 1)
        while free in taken[above]:
            number += 1
            free = f"{name} {number}"
        counts[above, name] = number
        taken[above].add(free)
        out[path] = string_token(free)
    return out


def span(text: str, path: Path) -> tuple[int, int]:
    """The span of the value at one path of a text that has passed `decode`. What stands before it is skipped by json's
    scanner, which is in C.
    """
    at = _blank(text, 0)
    for step in path:
        at = _blank(text, at + 1)
        if isinstance(step, int):
            for _ in range(step):
                at = _blank(text, _blank(text, _value(text, at)[1]) + 1)
            continue
        while True:
            key, at = _string(text, at + 1)
            at = _blank(text, _blank(text, at) + 1)
            if key == step:
                break
            at = _blank(text, _blank(text, _value(text, at)[1]) + 1)
    return at, _value(text, at)[1]


def _blank(text: str, at: int) -> int:
    """Where the next token begins."""
    found = _BLANK.match(text, at)
    return at if found is None else found.end()


def _locate(text: str, wanted: Mapping[Path, str]) -> list[tuple[int, int, str]]:
    """Spans of the values at the wanted paths, with their replacements. One pass over the tokens, no recursion."""
    found: list[tuple[int, int, str]] = []
    path: list[str | int] = []
    opened: list[tuple[int, str | None]] = []
    in_object: list[bool] = []
    expect_key = False
    for token in _TOKEN.finditer(text):
        piece = token.group()
        match piece[0]:
            case "{" | "[":
                opened.append((token.start(), wanted.get(tuple(path))))
                in_object.append(piece == "{")
                path.append("" if piece == "{" else 0)
                expect_key = piece == "{"
            case "}" | "]":
                path.pop()
                in_object.pop()
                start, whole = opened.pop()
                if whole is not None:
                    found.append((start, token.end(), whole))
                expect_key = False
            case ",":
                expect_key = in_object[-1]
                last = path[-1]
                if isinstance(last, int):
                    path[-1] = last + 1
            case ":":
                expect_key = False
            case _:
                if expect_key:
                    path[-1] = json.loads(piece)
                    if (renamed := wanted.get((*path, KEY))) is not None:
                        found.append((token.start(), token.end(), renamed))
                elif (replacement := wanted.get(tuple(path))) is not None:
                    found.append((token.start(), token.end(), replacement))
    return found


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Duplicate
    return members


def _members_any_case(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key.casefold() for key, _ in pairs}) != len(pairs):
        raise _Duplicate
    return dict(pairs)


def _no_constant(name: str) -> Any:
    raise ValueError(name)


_DECODER = JSONDecoder(object_pairs_hook=_members, parse_constant=_no_constant)
_ANY_CASE = JSONDecoder(object_pairs_hook=_members_any_case, parse_constant=_no_constant)
