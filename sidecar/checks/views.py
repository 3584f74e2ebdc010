"""Other readings of a text in which an attack may hide: normalised, look-alikes folded, hidden or encoded parts decoded.

All bounded: how much text is read, how many encoded runs are tried, how long each may be. Views are for detectors
only; nothing here changes what travels.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar
from urllib.parse import unquote

import re2

from sidecar.checks.confusables import LOOK_ALIKES
from sidecar.checks.normal_form import normal_form
from sidecar.checks.pattern_set import PatternSet

_Run = TypeVar("_Run", str, bytes)

MAX_LOOKS = 1_024
"""Runs of one encoding that are decoded: most are ids, paths and digests, which give no text and cost little."""
MAX_RUNS = 128
"""Of them those that give a text."""
MAX_RUN_CHARS = 8_192
MAX_RUNS_CHARS = 131_072
"""Of all runs of one encoding together."""
MAX_STRETCHES = 8
MAX_REWRITTEN_CHARS = 16_384
"""Readings that rewrite every letter (rot13, reversed, leet, spelled) are made of texts up to this length; of a longer one
of its beginning and of its end. Escapes are read in MAX_STRETCHES stretches of it."""
_BEFORE = 256

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\U000e0000-\U000e01ef]"
)
_INVISIBLE_SIGN = re2.compile(_INVISIBLE.pattern)
_TAGS = re.compile("[\U000e0020-\U000e007e]{4,}")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
_HIDDEN_SIGN = re2.compile("[\U000e0020-\U000e007e]{4}|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4}")
_BASE64 = re2.compile(rb"[A-Za-z0-9+/_\-]{16,}={0,2}")
_LINES = re2.compile(rb"\n[ \t]*(?:[A-Za-z0-9+/_\-]{2,}[ \t]*\r?\n[ \t]*)+")
"""Lines of nothing but base64, however short, and the line feed before them."""
_LAST_LINE = re.compile(rb"[A-Za-z0-9+/_\-]{2,}+={0,2}(?=[ \t]*(?:[\r\n]|\Z))")
_HEX = re2.compile(rb"(?:(?:0x|\\x)?[0-9a-fA-F]{2}(?:[ ,:]|\r?\n)?){12,}")
_BASE64_SIGN, _LINES_SIGN, _HEX_SIGN = range(3)
_SIGNS = PatternSet(
    (
        r"[A-Za-z0-9+/_\-]{16}",
        r"(?m:^[ \t]*[A-Za-z0-9+/_\-]{2,}[ \t]*\r?\n[ \t]*[A-Za-z0-9+/_\-]{2,}={0,2}[ \t\r]*$)",
        r"(?:(?:0x|\\x)?[0-9a-fA-F]{2}(?:[ ,:]|\r?\n)?){12}",
    )
)
"""Without which a text holds none of these, found in one pass."""
_PERCENT = re.compile(r"%[0-9a-fA-F]{2}")
_ENTITY = re.compile(r"&#x?[0-9a-fA-F]{1,6};(?:&#x?[0-9a-fA-F]{1,6};){2}")
"""Begins with letters instead of a group: Python's search leaps to them. So do the classes below with their first sign."""
_ESCAPES = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_HEX_DIGITS = re.compile(rb"0x|\\x|[^0-9a-fA-F]")
_LEET_WORD = re2.compile(r"[a-z][013457@$!|€+69]+[a-z]")
_SPELLED_SIGN = re2.compile(r"[a-z](?:[ .\-_*|/\\]{1,2}[a-z0-9]){6}")
_SPELLED = re.compile(r"(?<![a-z0-9])[a-z](?:[ .\-_*|/\\]{1,2}[a-z0-9]){6,}(?![a-z0-9])")
_NOT_LETTER = re.compile(r"[^a-z0-9]+")

_LOOK_ALIKES = f"[{''.join(map(chr, LOOK_ALIKES))}]"
_LOOK_ALIKE = re.compile(f"{_LOOK_ALIKES}{_LOOK_ALIKES}*")
_ACCENTS = re.compile("[\u0300-\u036f][\u0300-\u036f]*")
_PLAIN = bytes(ord(" ") if chr(code).isspace() else ord(chr(code).lower()) for code in range(128)) + bytes(
    range(128, 256)
)
"""Of ASCII: lower case, and a blank for every white space."""
_WORDS = re.compile(r".{1,256}[^ ]*", re.DOTALL)
"""Some, up to a blank: of a text in which not all is ASCII nearly all of these are."""
_LEET = bytes.maketrans(b"013457@$!|+69", b"oieastasiltgg")
_ROT13 = bytes.maketrans(
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    b"nopqrstuvwxyzabcdefghijklmNOPQRSTUVWXYZABCDEFGHIJKLM",
)
_LEET_WORDS = 2
_LEET_MAX_CHARS = 2_000
"""Code and tables are full of digits inside words; a disguised prompt is short."""


class Bounds:
    """Whether a bound ended the reading of one text before its end."""

    reached = False


def plain(text: str) -> str:
    """NFKC, without invisible characters, lower case, white space collapsed."""
    if not text.isascii():
        text = normal_form("NFKC", text)
        if _INVISIBLE_SIGN.search(text):
            text = _INVISIBLE.sub("", text)
        if not text.isascii():
            # no letter's lower case depends on what stands beyond a blank
            return " ".join(filter(None, map(_plain_words, _WORDS.findall(text))))
    return _plain_words(text)


def _plain_words(text: str) -> str:
    if not text.isascii():
        return " ".join(text.split()).lower()
    words = text.encode().translate(_PLAIN).split(b"  ")
    return b" ".join(filter(None, map(bytes.strip, words))).decode()


def folded(normal: str) -> str:
    """A plain text with look-alike letters as Latin ones and without accents."""
    if normal.isascii():
        return normal
    letters = _ACCENTS.sub("", normal_form("NFD", normal))
    return _LOOK_ALIKE.sub(lambda run: run[0].translate(LOOK_ALIKES), letters)


def rewritten(normal: str) -> Iterator[str]:
    """Readings of a folded text as leet, rot13, reversed."""
    for end in _ends(normal):
        if _LEET_WORD.search(end):
            yield _without_leet(end)
        yield end.encode().translate(_ROT13).decode()
        yield end[::-1]


def unmasked(normal: str) -> str:
    """A short folded text with the signs that stand for letters as letters; "" if hardly any word holds one."""
    if len(normal) > _LEET_MAX_CHARS or len(_LEET_WORD.findall(normal)) < _LEET_WORDS:
        return ""
    return _without_leet(normal)


def reads_whole(normal: str) -> bool:
    """Whether the readings that rewrite every letter are made of all of this text."""
    return len(normal) <= 2 * MAX_REWRITTEN_CHARS


def spelled(normal: str) -> str:
    """Words written letter by letter, joined without spaces ("i g n o r e a l l" is "ignoreall")."""
    ends = (end for end in _ends(normal) if _SPELLED_SIGN.search(end))
    runs = [match.group() for end in ends for match in _SPELLED.finditer(end)]
    return " ".join(_NOT_LETTER.sub("", run) for run in runs[:MAX_RUNS])


def decoded(text: str, bounds: Bounds) -> Iterator[str]:
    """Hidden or encoded parts of the original text, decoded once."""
    if not text.isascii() and _HIDDEN_SIGN.search(text):
        yield from _hidden(text, bounds)
    data = text.encode()
    signs = _SIGNS.matches(data)
    if _BASE64_SIGN in signs:
        yield from _texts_of(map(_base64, _runs(_found(_BASE64, data), bounds)), bounds)
    if _LINES_SIGN in signs:
        yield from _texts_of(map(_base64, _joined_lines(data, bounds)), bounds)
    if _HEX_SIGN in signs:
        yield from _texts_of(map(_hex, _runs(_found(_HEX, data), bounds)), bounds)
    for stretch in _stretches(_PERCENT, text, bounds) if "%" in text else ():
        yield unquote(stretch)
    for stretch in _stretches(_ENTITY, text, bounds) if "&" in text else ():
        yield html.unescape(stretch)
    for stretch in _stretches(_ESCAPES, text, bounds) if "\\" in text else ():
        written = _ESCAPES.sub(lambda found: chr(int(found[1] or found[2], 16)), stretch)
        # two escapes may be one character; what is left of halves is no text
        yield written.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _hidden(text: str, bounds: Bounds) -> Iterator[str]:
    for found in _runs(_found(_TAGS, text), bounds):
        yield "".join(chr(ord(char) - 0xE0000) for char in found)
    for found in _runs(_found(_SELECTORS, text), bounds):
        values = (ord(char) - 0xFE00 if ord(char) < 0xFE10 else ord(char) - 0xE0100 + 16 for char in found)
        yield from _readable(bytes(values))


def _without_leet(text: str) -> str:
    return text.replace("€", "e").encode().translate(_LEET).decode()


def _ends(text: str) -> Sequence[str]:
    if len(text) <= MAX_REWRITTEN_CHARS:
        return (text,)
    return text[:MAX_REWRITTEN_CHARS], text[-MAX_REWRITTEN_CHARS:]


def _stretches(sign: re.Pattern[str], text: str, bounds: Bounds) -> Iterator[str]:
    """Where escapes are, each with what stands shortly before it."""
    at = 0
    for _ in range(MAX_STRETCHES):
        if (found := sign.search(text, at)) is None:
            return
        start = max(at, found.start() - _BEFORE)
        at = start + MAX_REWRITTEN_CHARS
        yield text[start:at]
    if sign.search(text, at):
        bounds.reached = True


def _found(pattern: re.Pattern[_Run], text: _Run) -> Iterator[_Run]:
    return (match.group() for match in pattern.finditer(text))


def _runs(all_found: Iterable[_Run], bounds: Bounds) -> Iterator[_Run]:
    left = MAX_RUNS_CHARS
    for number, found in enumerate(all_found):
        run = found[: min(left, MAX_RUN_CHARS) if number < MAX_LOOKS else 0]
        left -= len(run)
        if len(run) < len(found):
            bounds.reached = True
        if not run:
            return
        yield run


def _joined_lines(data: bytes, bounds: Bounds) -> Iterator[bytes]:
    """Lines put together: all that follow one another, and those of one length, for a word may stand before them."""
    for run in _runs(_blocks_of_lines(b"\n" + data), bounds):
        lines = run.split()
        yield b"".join(lines)
        start = 0
        for end in range(1, len(lines) + 1):
            if end == len(lines) or len(lines[end]) != len(lines[start]):
                if end - start > 1 and (start or end < len(lines)):
                    last = end < len(lines) and len(lines[end]) < len(lines[start])
                    yield b"".join(lines[start : end + last])
                start = end


def _blocks_of_lines(data: bytes) -> Iterator[bytes]:
    for block in _LINES.finditer(data):
        last = _LAST_LINE.match(data, block.end())
        yield data[block.start() + 1 : (last or block).end()]


def _texts_of(decoded_runs: Iterable[bytes], bounds: Bounds) -> Iterator[str]:
    texts = (found for data in decoded_runs for found in _readable(data))
    yield from islice(texts, MAX_RUNS)
    if next(texts, None) is not None:
        bounds.reached = True


def _hex(run: bytes) -> bytes:
    digits = _HEX_DIGITS.sub(b"", run)
    return binascii.unhexlify(digits[: len(digits) & ~1])


def _base64(run: bytes) -> bytes:
    run = run.translate(_URL_SAFE).rstrip(b"=")
    run = run[: len(run) - 1] if len(run) % 4 == 1 else run
    try:
        return base64.b64decode(run + b"=" * (-len(run) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _readable(data: bytes) -> Iterator[str]:
    """The text of decoded bytes, if it is text: what encodings of binaries give is noise."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return
    if len(text) >= 8 and sum(char.isprintable() or char.isspace() for char in text) >= 0.95 * len(text):
        yield text
