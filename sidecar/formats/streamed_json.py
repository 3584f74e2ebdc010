r"""A JSON text that is streamed as a string, such as a tool call's arguments: what checks see of it, and the way back.

It can't be decoded before its end. So checks see a view in which every escape that could hide or glue a text is
written out: `\u006a` is j, `\n` is a line feed. Only escaped quotes and backslashes stay two characters, because a
bare one would mean something else. On the way back control characters are escapes again: in a JSON text they can't
stand in strings, and those between its tokens are blanks in the view. The meaning stays, needless escapes go.
"""

from __future__ import annotations

import json
import re

from sidecar.formats.embedded import written_out

_ITEM = re.compile(
    r"""
      (?P<pair>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})
    | (?P<open>(?:\\u[dD][89abAB][0-9a-fA-F]{2})?\\(?:u[0-9a-fA-F]{0,3})?\Z | \\u[dD][89abAB][0-9a-fA-F]{2}\Z)
    | \\u(?P<code>[0-9a-fA-F]{4})
    | \\(?P<short>.)
    | (?P<quote>")
    | (?P<blank>[\t\r\n])
    """,
    re.VERBOSE | re.DOTALL,
)
_SHORT = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/"}
_BLANK = re.compile(r"[\t\r\n]")
_CONTROL = re.compile(r"[\x00-\x1f]")
_OUT = re.compile(r'["\\\x00-\x1f]|\[[A-Z][A-Z_]*(?::[a-z2-7]{18})?\]|\*[*\w]*')


def as_json(view: str) -> str:
    """A whole view as JSON again."""
    return _CONTROL.sub(lambda char: json.dumps(char[0])[1:-1], view)


class StreamedJson:
    """Both ways of one JSON text. What does not begin like JSON is read as one text and written as it is."""

    def __init__(self) -> None:
        self._open = ""
        """An escape whose end has not come yet."""
        self._json: bool | None = None
        self._inside = False
        """In a string, on the way in."""
        self._writes_string = False
        """In a string, on the way out."""
        self._escaped = False
        """The last character that went out was a backslash that escapes the next one."""

    @property
    def plain(self) -> bool:
        """Whether it is no JSON, so that nothing in it is escaped."""
        return self._json is False

    @property
    def whole(self) -> bool:
        """Whether no escape is open."""
        return not self._open

    def read(self, text: str) -> str:
        """The next piece as checks see it, with what was open before it."""
        whole, self._open = self._open + text, ""
        if self._json is None and (first := whole.lstrip()[:1]):
            self._json = first in '{["'
            if not self._json:  # before that it was not known, so blanks were read as those of a JSON text
                blanks = len(whole) - len(whole.lstrip())
                whole = _BLANK.sub(" ", whole[:blanks]) + whole[blanks:]
        if self._json is False:
            if tail := re.search(r"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)\Z", whole):
                whole, self._open = whole[: tail.start(1)], tail[1]
            return written_out(whole)
        return _ITEM.sub(self._seen, whole)

    def write(self, text: str) -> str:
        """A piece of the view, redacted or not, as JSON again. Pieces must come in order."""
        if not self._json:
            return text
        out: list[str] = []
        done = 0
        for item in _OUT.finditer(text):
            if item.start() != done:
                self._escaped = False
            out += (text[done : item.start()], self._sent(item[0]))
            done = item.end()
        if done < len(text):
            self._escaped = False
        out.append(text[done:])
        return "".join(out)

    def _seen(self, item: re.Match[str]) -> str:
        match item.lastgroup:
            case "pair":
                return str(json.loads(f'"{item[0]}"'))
            case "open":
                self._open = item[0]
                return ""
            case "code":
                char = chr(int(item["code"], 16))
                if char in '"\\':
                    return f"\\{char}"
                return "\ufffd" if "\ud800" <= char <= "\udfff" else char
            case "short":
                return _SHORT.get(item["short"], item[0])
            case "quote":
                self._inside = not self._inside
                return '"'
            case _:
                return item[0] if self._inside else " "

    def _sent(self, item: str) -> str:
        escaped, self._escaped = self._escaped, False
        if item == "\\":
            self._escaped = not escaped
        elif item == '"':
            if not escaped:
                self._writes_string = not self._writes_string
        elif item[0] not in "[*":
            return json.dumps(item)[1:-1]
        elif not self._writes_string:
            return f'"{item}"'  # a number was redacted: what takes its place is a string
        return item
