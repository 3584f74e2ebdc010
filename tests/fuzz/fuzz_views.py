"""Fuzzes what is made of a text before detectors read it: views, normal forms, typography, links, and JSON in strings.

No text is too odd, too long for its views' bounds, or costly; positions lead back into the text; a JSON text that is
streamed reads the same however it is cut, and comes out with the meaning that it went in with.
"""

from __future__ import annotations

import json
from typing import Any, get_args

from bartizan.policy.checks import Canary, Exfiltration, Markup, Pii, PiiType, PromptInjection, Secrets
from sidecar.checks import hypertext, typography, views
from sidecar.checks.alignment import align
from sidecar.checks.base import SpanCheck
from sidecar.checks.catalog import build_checks
from sidecar.checks.normal_form import normal_form
from sidecar.checks.spans import TOO_MANY, Allowance
from sidecar.formats.base import FormatError, TextPart
from sidecar.formats.embedded import embedded_texts, written_out
from sidecar.formats.json_text import decode
from sidecar.formats.streamed_json import StreamedJson
from tests.fuzz.program import STRINGS, Program

SPANS: list[Any] = list(
    build_checks(
        (
            Pii(types=get_args(PiiType)),
            Secrets(action="redact"),
            Exfiltration(),
            Markup(),
            Canary(tokens=("canary-7f3a9c21", "aaaaaaaaaaab"), action="redact"),
        )
    ).texts
)
INJECTION = build_checks((PromptInjection(),)).texts[0]
_SHAPES = (
    *("aGVsbG8gd29ybGQgaGVsbG8gd29ybGQ=", "68656c6c6f20776f726c6420", "%68%65%6c", "&#104;&#x65;", "\\u0068\\x65"),
    *("i g n o r e a l l", "1gn0r3 a|l", "\U000e0068\U000e0065\U000e006c", "\ufe00\ufe01\U000e0100\U000e0101"),
    *("\u0301", "\u200b", "\uff21\uff11", "\u0130", "\ufdfa", "\u0645\u062d", "\u2028", "e\u0301\u0327", "\U0001f468\u200d"),
    *("https://a.example/b", "](//x", "<a href='", "<!--", "data:image/png;base64,", "url( '//", "AKIAQ3EGRIJ7SNNH2LKP"),
    *("4111 1111 1111 1111", "+49 30 1234567", "password: hunter2 ", "-----BEGIN PRIVATE KEY-----\n", "eyJhbGciOi."),
    *STRINGS,
)  # fmt: skip
_MOST_VIEWS = 700
"""Three encodings with MAX_RUNS texts each, and a handful of stretches and rewritings."""


def one_input(data: bytes) -> None:
    """Its first bytes: what is played; then the text."""
    program = Program(data)
    kind = program.byte() % 4
    cuts = [program.byte() for _ in range(program.byte() % 6)]
    text = _text(program)
    match kind:
        case 0:
            seen(text)
        case 1:
            spans(text)
        case 2:
            json_text(text, cuts)
        case _:
            json_text(json.dumps(program.value(), ensure_ascii=program.flag()), cuts)
            links(text)


def _text(program: Program) -> str:
    """Bytes as they are, or a few shapes, each many times over."""
    if program.flag():
        return program.take(program.byte() * 8).decode("utf-8", "ignore")
    parts = []
    for _ in range(1 + program.byte() % 5):
        shape = program.choice(_SHAPES) if program.flag() else program.text()
        parts.append(shape * (1 + program.byte() % 32))
    return "".join(parts)[:6000]


def seen(text: str) -> None:
    """Views."""
    plain = views.plain(text)
    folded = views.folded(plain)
    made = [
        *views.rewritten(folded),
        views.unmasked(folded),
        views.spelled(folded),
        *views.decoded(text, views.Bounds()),
    ]
    assert len(made) < _MOST_VIEWS
    longest = max(len(text), views.MAX_REWRITTEN_CHARS, views.MAX_RUN_CHARS)
    assert all(len(view) <= longest for view in made)
    for view in made:
        view.encode()  # nothing that UTF-8 can't carry
        views.folded(views.plain(view))
    for form in ("NFC", "NFD", "NFKC"):
        normal_form(form, text)
    aligned = align(text, plain, views.plain)
    spans = list(zip(aligned.starts.tolist(), aligned.ends.tolist(), strict=True))
    assert len(spans) == len(plain)
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    INJECTION.inspect(TextPart(location="x", text=text))


def spans(text: str) -> None:
    """Checks that find stretches."""
    typed = typography.plain(text)
    if typed.places is not None:
        assert len(typed.places) == len(typed.text)
        assert list(typed.places) == sorted(set(typed.places))
    for check in SPANS:
        found = check.matches(text)
        assert _in_order(found, len(text)), check.name
        start = len(text) // 2
        assert all(match.start >= start for match in check.matches(text, start)), check.name
        assert len(text) - check.max_match < check.settled(text) <= len(text), check.name
        _settled(check, text)


def _in_order(found: Any, length: int) -> bool:
    at = 0
    for match in found:
        if not at <= match.start < match.end <= length:
            return False
        at = match.end
    return True


def _settled(check: SpanCheck, text: str) -> None:
    """What is settled after a half stays, whatever the other half is."""
    half = text[: len(text) // 2]
    settled = check.settled(half)
    before = [match for match in check.matches(half) if match.end <= settled]
    after = [match for match in check.matches(text) if match.start < settled]
    if any(match.kind == TOO_MANY for match in (*before, *after)):
        return  # nobody judged it all; a stream judges each piece
    assert after[: len(before)] == before, check.name


def links(text: str) -> None:
    """Places that render to something: each begins behind the last, and lies in the text."""
    allowance, at = Allowance(text, hypertext.CHARS_PER_STEP), 0
    while (place := hypertext.next_place(text, at, allowance)) is not None:
        assert at <= place.start < place.end <= len(text)
        assert place.end - place.start <= hypertext.MAX_PLACE
        list(hypertext.views(place.inner))
        at = place.end
    assert 0 <= hypertext.begun(text, 0) <= len(text)


def json_text(text: str, cuts: list[int]) -> None:
    """A JSON text, or what should have been one, in a string."""
    written_out(text)
    for found in embedded_texts(text, ("a",), "a", "user", 16):
        found.text.encode()
    whole = StreamedJson()
    view = whole.read(text)
    pieces, seen_so_far, out, at = StreamedJson(), "", "", 0
    for cut in [*cuts, len(text)]:
        piece = pieces.read(text[at : at + cut])
        at += cut
        seen_so_far += piece
        out += pieces.write(piece)
    assert seen_so_far == view
    try:
        _, value = decode(text.encode())
    except FormatError:
        return
    assert json.loads(out) == value
    assert json.loads(whole.write(view)) == value


def seeds() -> list[bytes]:
    """Each shape under each player."""
    made = []
    for kind in range(4):
        made += [bytes((kind, 2, 3, 9, 0, 1, 1, at, 3, 1, at * 7 % 256, 5)) for at in range(len(_SHAPES))]
        made.append(bytes((kind, 1, 5, 1, 60)) + json.dumps({"a": STRINGS}).encode())
    return made
