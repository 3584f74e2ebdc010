"""Servers that give one index to several calls: each call is judged for itself, and nothing is hidden in what clients join."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.policy.checks import Canary, Pii, Secrets, Tools
from sidecar.checks.catalog import build_checks
from sidecar.checks.pipe import span_check
from sidecar.checks.stream import StreamInspector
from sidecar.formats.openai_stream import openai_stream
from sidecar.formats.streamed_calls import MAX_WHOLE, StreamedCalls

TOKEN = "ZEBRA-phoenix-ZEBRA-phoenix-"
KEY = "AKIA" + "Q3EGRIJ7SNNH2LKP"
Piece = dict[str, Any]


def piece(**members: Any) -> Piece:
    """One delta of a call; `id` and `index` are the call's, all others its function's."""
    call: Piece = {"index": 0, **{key: members.pop(key) for key in ("id", "index") if key in members}}
    return {**call, "function": members}


def event(call: Piece | None = None, finish: str | None = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": {"tool_calls": [call]} if call else delta, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + b"\n\n"


def answered(pieces: list[bytes], *checks: Any) -> tuple[bytes, bool]:
    on = StreamInspector(openai_stream(legacy=False), build_checks(checks), shadow=False)
    outputs = [on.feed(one, end=False) for one in pieces] + [on.feed(event(finish="stop"), end=True)]
    return b"".join(output.data for output in outputs), outputs[-1].cut


def deltas(out: bytes) -> list[Piece]:
    found = []
    for line in out.decode().splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                found += choice["delta"].get("tool_calls", ())
    return found


def by_index(out: bytes, key: str) -> list[str]:
    """What a client has that joins all pieces of one index."""
    joined: dict[int, str] = defaultdict(str)
    for call in deltas(out):
        joined[call["index"]] += {**call, **call.get("function", {})}.get(key) or ""
    return list(joined.values())


def by_id(out: bytes) -> list[tuple[str, str]]:
    """Names and arguments for a client to which an id that is new begins a call."""
    calls: list[list[str]] = []
    last = None
    for call in deltas(out):
        if not calls or (call.get("id") and call["id"] != last):
            last = call.get("id")
            calls.append(["", ""])
        for number, key in enumerate(("name", "arguments")):
            calls[-1][number] += call.get("function", {}).get(key) or ""
    return [(name, arguments) for name, arguments in calls]


@pytest.mark.parametrize(
    ("pieces", "numbers"),
    [
        ([piece(id="a", name="f"), piece(arguments="{}")], [1, 1]),
        ([piece(id="a", name="f", arguments="{}"), piece(id="b", name="g")], [1, 2]),
        ([piece(name="f", arguments="{}"), piece(name="g")], [1, 2]),
        ([piece(id="a", name="f"), piece(id="b", name="g")], [1, 2]),
        ([piece(name="f"), piece(name="g")], [1, 1]),
        ([piece(id="a", name="f"), piece(id="a", name="g")], [1, 1]),
        ([piece(id="a", name="f", arguments="{}"), piece(id="a", name="f", arguments="")], [1, 1]),
        ([piece(id="a", name="f"), piece(id="b", arguments="{"), piece(id="c", arguments="}")], [1, 1, 1]),
        ([piece(id="a", name="f", arguments='{"a":'), piece(id="b", name="g")], [1, 1]),
        ([piece(id="a", name="f", arguments='"a"'), piece(id="b", name="g")], [1, 1]),
        ([piece(id="a", name="f", arguments="{" + " " * MAX_WHOLE + "}"), piece(id="b", name="g")], [1, 1]),
        ([{"id": "a", "custom": {"name": "f", "input": "{}"}}, piece(id="b", name="g")], [1, 1]),
        ([piece(id="a", name="f", arguments="{}"), piece(index=1, id="b", name="g")], [1, 1]),
        ([piece(id=1, name="f"), piece(id=[], name=2), {"function": None, "custom": "x"}], [1, 1, 1]),
    ],
)
def test_a_name_begins_a_new_call_where_no_argument_is_open(pieces: list[Piece], numbers: list[int]) -> None:
    calls = StreamedCalls()
    places = [calls.place(f"calls[{one.get('index', 0)}]", one)[0] for one in pieces]
    assert [int(place.partition("'")[2] or 1) for place in places] == numbers


TOOLS = Tools(allow=("get", "put", "getput"), schemas={"get": {"type": "object"}, "put": {"type": "object"}})
CALLS = st.lists(
    st.tuples(st.sampled_from(["get", "put"]), st.sampled_from(["{}", '{"a": "b c"}'])), max_size=4
)


@settings(deadline=None)
@given(calls=CALLS, cut=st.integers(0, 20), apart=st.booleans(), ids=st.booleans(), again=st.booleans())
def test_calls_that_share_an_index_come_whole_to_clients_that_part_them(
    calls: list[tuple[str, str]], cut: int, apart: bool, ids: bool, again: bool
) -> None:
    pieces: list[bytes] = []
    for number, (name, arguments) in enumerate(calls):
        known = {"id": f"call_{number}"} if ids else {}
        texts = [arguments[:cut], arguments[cut:]]
        first = {"name": name} if apart else {"name": name, "arguments": texts.pop(0)}
        pieces.append(event(piece(**known, **first)))
        pieces += [event(piece(**(known if again else {}), arguments=text)) for text in texts]
    out, was_cut = answered(
        pieces, TOOLS, Canary(tokens=(TOKEN,), action="cut"), Pii(), Secrets(action="redact")
    )
    assert not was_cut
    if ids:
        assert by_id(out) == calls


BETWEEN = st.sampled_from(
    [
        b"",
        b":\n\n",
        event(content="x"),
        event(piece(arguments="{}")),
        event(piece(index=1, name="get")),
        event(piece(id="call_0")),
    ]
)


@settings(deadline=None, max_examples=300)
@given(
    secret=st.sampled_from([TOKEN, KEY]),
    key=st.sampled_from(["name", "id", "newer"]),
    cuts=st.lists(st.integers(0, 40), max_size=4),
    between=st.lists(BETWEEN, min_size=6, max_size=6),
    ids=st.booleans(),
    before=st.sampled_from(["", "to_", "to "]),
)
def test_no_client_gets_a_secret_that_is_cut_over_pieces(
    secret: str, key: str, cuts: list[int], between: list[bytes], ids: bool, before: str
) -> None:
    said = before + secret
    places = sorted({min(cut, len(said)) for cut in cuts} | {0, len(said)})
    pieces = []
    for number, (start, end) in enumerate(pairwise(places)):
        more = {"id": f"call_{number}"} if ids and key == "name" else {}
        pieces += [event(piece(**{**more, key: said[start:end]})), between[number]]
    checks = (Canary(tokens=(TOKEN,), action="redact"), Secrets(action="redact"))
    out, _ = answered(pieces, *checks)
    # by what finds it: a key that stands right behind other letters ("call_0AKIA...") has not the form of one
    for check in map(span_check, build_checks(checks).texts):
        assert not any(check.matches(joined) for joined in by_index(out, key))
        assert not any(check.matches(name) for name, _ in by_id(out))
