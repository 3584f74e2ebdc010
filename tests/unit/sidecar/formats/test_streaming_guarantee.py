"""The streaming guarantee: however an answer is split, what flows is what would have flown unstreamed.

BARTIZAN_STREAM_CASES sets the number of cases. The long form is tests/fuzz/fuzz_streaming.py, which plays the same
properties with cases of its own, several times as fast.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bartizan.policy.bundle import GuardModel, GuardPlan
from bartizan.policy.checks import Canary, Exfiltration, Markup, Pii, PiiType, Secrets
from sidecar.checks.base import CheckSet, TextCheck
from sidecar.checks.catalog import build_checks
from sidecar.checks.content import apply_edits, inspect_document
from sidecar.checks.stream import StreamInspector
from sidecar.formats.base import Format, TextPart
from sidecar.formats.catalog import build_format
from tests.support.wire import ARGUMENTS, Wire
from tests.support.wires import WIRES

CASES = int(os.environ.get("BARTIZAN_STREAM_CASES", "300"))
TOKENS = ("ZEBRA-phoenix-7731", "geheim-猫-42")
PLANTED = (
    "jane.roe+x@mail.example.com",
    "4111 1111 1111 1111",
    "4111111111111111",
    "GB82 WEST 1234 5698 7654 32",
    "+49 30 1234567",
    "AKIA" + "Q3EGRIJ7SNNH2LKP",
    "postgres://app:" + "s3cr3tpass" + "@db.example.com/app",
    "https://evil.example/c?d=1",
    "![i](//evil.example/i.png)",
    "<a href=https://docs.example/a>",
    "<script>steal()</script>",
    "b{background:url( '//evil.example/x')}",
    "@import '//evil.example/y';",
    "<b onclick=steal()>",
    "203.0.113.77",
    "00:1B:44:11:3A:B7",
    "born 1990-02-13",
    "4111\u20111111\u20111111\u20111111",
    "4111\u200b1111\u200b1111\u200b1111",
    "AKIA\u200bQ3EGRIJ7SNNH2LKP",
    "jane@exam\u200bple.com",
    "+49\u201130\u20111234567",
    *TOKENS,
    " ".join(TOKENS[0]),
)
PROSE = st.text(
    st.one_of(
        st.sampled_from('abz AB Z09 .,-_@+%/()\n\t"\\:=é猫😀'),
        st.characters(codec="utf-8", exclude_categories=["Cs"]),
    ),
    max_size=20,
)
TEXTS = st.lists(st.one_of(PROSE, st.sampled_from(PLANTED), st.just(" ")), max_size=6).map("".join)


def _checks(action: Literal["redact", "cut"], kinds: Pii) -> CheckSet:
    others = (Secrets(action="redact"), Exfiltration(links=("docs.example",)), Markup())
    return build_checks((kinds, *others, Canary(tokens=TOKENS, action=action)))


_ACTIONS: tuple[Literal["redact", "cut"], ...] = ("redact", "cut")
ALL = {action: _checks(action, Pii(types=get_args(PiiType))) for action in _ACTIONS}
USUAL = {action: _checks(action, Pii()) for action in _ACTIONS}
"""Without forms that begin with words: these look at plain words together (sidecar/checks/quiet.py)."""


def _format(wire: Wire) -> Format:
    model = GuardModel(name="m", protocol=wire.protocol)  # type: ignore[arg-type]
    plan = GuardPlan(id="1.1", policy="a/b", revision=1, model=model, tenants=("t",), output=(Pii(),))
    return build_format(plan)


FORMATS = {wire.name: _format(wire) for wire in WIRES}


@dataclass(frozen=True, slots=True)
class Case:
    """One answer and its way over the wire."""

    wire: Wire
    texts: dict[str, str]
    """As the model wrote them: JSON texts for arguments."""
    data: bytes
    sizes: list[int]

    @property
    def checks(self) -> dict[Literal["redact", "cut"], CheckSet]:
        """One half of all cases, by their size, has these, the other half those."""
        return USUAL if len(self.data) % 2 else ALL

    @classmethod
    def of(
        cls,
        wire: Wire,
        texts: dict[str, str],
        queues: dict[str, list[str]],
        order: list[str],
        *,
        outer: Callable[[Any], str],
        end: bytes,
        sizes: list[int] | None,
    ) -> Case:
        """`queues`: the deltas of each text stream, taken in this order. `sizes`: of what comes together, None for each event by
        itself.
        """
        order = order + [name for name in queues for _ in queues[name]]
        pieces = [wire.piece(name, queues[name].pop(0)) for name in order if queues[name]]
        events = [*wire.begin(), *pieces, *wire.end(texts)]
        for number, event in enumerate(events):
            if "sequence_number" in event:
                event["sequence_number"] = number
        written = [wire.event(event, outer) for event in events]
        if wire.kind == "text/event-stream":
            written = [event.replace(b"\n", end) for event in written]
        return cls(
            wire, texts, b"".join(written), [len(event) for event in written] if sizes is None else sizes
        )


@st.composite
def answers(draw: st.DrawFn, said: st.SearchStrategy[str] = TEXTS) -> Case:
    wire = draw(st.sampled_from(WIRES))
    names = draw(st.lists(st.sampled_from(wire.streams), min_size=1, max_size=3, unique=True))
    inner, outer = (writer(draw(st.booleans()), draw(st.booleans())) for _ in range(2))
    texts: dict[str, str] = {}
    for name in sorted(names, key=wire.streams.index):
        text = draw(said)
        texts[name] = inner({"a": text, "b": ["x", 1]}) if name.startswith(ARGUMENTS) else text
    queues = {
        name: split(text, draw(st.lists(st.integers(0, 400), max_size=12))) for name, text in texts.items()
    }
    order = draw(st.lists(st.sampled_from(sorted(queues)), max_size=40))
    end = draw(st.sampled_from([b"\n", b"\r\n", b"\r"])) if wire.kind == "text/event-stream" else b"\n"
    sizes = draw(st.one_of(st.lists(st.integers(1, 60), max_size=60), st.none()))
    return Case.of(wire, texts, queues, order, outer=outer, end=end, sizes=sizes)


def writer(only_ascii: bool, hidden: bool) -> Callable[[Any], str]:
    """JSON with or without escapes that are not needed."""

    def dump(value: Any) -> str:
        text = json.dumps(value, ensure_ascii=only_ascii)
        return re.sub("[@Z+]", lambda char: f"\\u{ord(char[0]):04x}", text) if hidden else text

    return dump


def split(text: str, cuts: list[int]) -> list[str]:
    places = sorted({cut % (len(text) + 1) for cut in cuts} | {0, len(text)})
    return [text[a:b] for a, b in pairwise(places)]


def _streamed(case: Case, checks: CheckSet) -> tuple[bytes, bool]:
    stream = FORMATS[case.wire.name].answer_stream(case.wire.path, case.wire.kind)
    assert stream is not None
    inspector = StreamInspector(stream, checks, shadow=False, decision_id="d1")
    out, at, cut = bytearray(), 0, False
    for size in [*case.sizes, len(case.data)]:
        piece = case.data[at : at + size]
        at += size
        output = inspector.feed(piece, at >= len(case.data))
        out += output.data
        cut = cut or output.cut
        if at >= len(case.data):
            break
    return bytes(out), cut


def _plain(texts: dict[str, str]) -> dict[str, Any]:
    """JSON texts by their meaning."""
    return {
        name: json.loads(text) if text and ARGUMENTS in name else text for name, text in texts.items() if text
    }


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=answers())
def test_a_redacted_stream_says_what_the_redacted_answer_says(case: Case) -> None:
    redacted_alike(case)


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=answers())
def test_a_cut_stream_says_the_redacted_answer_up_to_the_match(case: Case) -> None:
    cut_alike(case)


@pytest.mark.parametrize("cuts", [[], [3], list(range(60))], ids=["whole", "cut", "by characters"])
@pytest.mark.parametrize(
    "said",
    [
        'https://evil.example/c?d=1"',
        'https://evil.example/", "admin": true, "b": "x',
        "https://evil.example/c\\",
        'https://evil.example/c\\" \\\\"',
        '\\\\"jane@example.com\\"',
        'https://evil.example/c?d=1_"',
        "<a href=//evil.example/",
    ],
)
def test_no_redaction_reaches_over_the_end_of_a_string_of_a_tools_arguments(
    said: str, cuts: list[int]
) -> None:
    wire = next(wire for wire in WIRES if wire.name == "chat")
    text = json.dumps({"a": said, "b": ["x", 1]})
    name = f"{ARGUMENTS}:0"
    queues = {name: split(text, cuts)}
    redacted_alike(Case.of(wire, {name: text}, queues, [], outer=json.dumps, end=b"\n", sizes=[]))


def redacted_alike(case: Case) -> None:
    body = json.dumps(case.wire.whole(case.texts)).encode()
    document = FORMATS[case.wire.name].decode_answer(case.wire.path, "application/json", body)
    inspect_document(document, case.checks["redact"], shadow=False)
    expected = _plain(case.wire.read(json.loads(document.encode())))
    for name, text in case.texts.items():
        if name.startswith(ARGUMENTS):  # a whole JSON text is looked at twice: by its strings, then as a text
            expected[name] = _in_strings(text, lambda text: _redacted(text, case.checks["redact"].texts))
    out, cut = _streamed(case, case.checks["redact"])
    got = _plain(case.wire.client(out))
    assert not cut
    assert {name: text for name, text in got.items() if " " not in name} == expected
    for name, text in got.items():
        assert text == expected[name.rpartition(" ")[2]], "said again after its deltas"


def cut_alike(case: Case) -> None:
    *redacting, canary = case.checks["cut"].texts
    before: dict[str, str] = {}
    found: set[str] = set()
    for name, said in case.texts.items():
        if name.startswith(ARGUMENTS):
            continue
        text = _redacted(said, redacting)
        matches = canary.matches(text)  # type: ignore[attr-defined]
        before[name] = text[: matches[0].start] if matches else text
        found |= {name} if matches else set()
    hidden: set[str] = set()
    for name, said in case.texts.items():
        if name.startswith(ARGUMENTS):
            value = _in_strings(said, lambda text: _redacted(text, redacting))
            hidden |= {name} if canary.matches(value["a"]) or canary.matches(value["b"][0]) else set()  # type: ignore[attr-defined]
    out, cut = _streamed(case, case.checks["cut"])
    got = case.wire.client(out)
    assert cut == bool(found or hidden)
    for name, text in before.items():
        assert text.startswith(got.get(name, ""))
    if cut:
        assert not any(token in out.decode() for token in TOKENS)
        assert any(got.get(name, "") == before[name] for name in found) or hidden
    else:
        assert {name: got.get(name, "") for name in before} == before


def _redacted(text: str, checks: Sequence[TextCheck]) -> str:
    for check in checks:
        text = apply_edits(text, check.inspect(TextPart(location="x", text=text)).edits)
    return text


def _in_strings(arguments: str, change: Callable[[str], str]) -> dict[str, Any]:
    value = json.loads(arguments)
    return {"a": change(value["a"]), "b": [change(value["b"][0]), *value["b"][1:]]}
