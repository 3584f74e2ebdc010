"""A tool's name that a model server cuts over events is judged and sent as one, before anything of it is out."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.policy.checks import Canary, Tools
from sidecar.checks.base import CheckSet
from sidecar.checks.catalog import build_checks
from sidecar.checks.stream import StreamInspector
from sidecar.formats.openai_stream import openai_stream
from sidecar.formats.split_names import MAX_NAME

SCHEMA = {"type": "object", "required": ["q"]}
TOOLS = Tools(allow=("get", "weather", "get_weather"), schemas={"get_weather": SCHEMA})
TOKEN = "ZEBRA-phoenix-7731"


def delta(index: int = 0, finish: str | None = None, choice: int = 0, **function: str) -> dict[str, Any]:
    calls = {"tool_calls": [{"index": index, "function": function}]} if function else {}
    return {"choices": [{"index": choice, "delta": calls, "finish_reason": finish}]}


def event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def inspector(*checks: Any, shadow: bool = False) -> StreamInspector:
    made: CheckSet = build_checks(checks)
    return StreamInspector(openai_stream(legacy=False), made, shadow=shadow)


def names(out: bytes) -> list[str]:
    """Of each delta that carries one; an error's event has none."""
    found = []
    for line in out.decode().splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:]).get("choices", ()):
                calls = choice["delta"].get("tool_calls", ())
                found += [call["function"]["name"] for call in calls if "name" in call.get("function", {})]
    return found


@pytest.mark.parametrize(
    ("pieces", "joined", "allowed"),
    [
        (["get_weather"], "get_weather", True),
        (["get_", "weather"], "get_weather", True),
        (["g", "et_", "w", "eather"], "get_weather", True),
        (["get", "_weather"], "get_weather", True),
        (["get", "weather"], "getweather", False),
        (["get", "_secrets"], "get_secrets", False),
    ],
)
def test_pieces_of_a_name_are_judged_joined(pieces: list[str], joined: str, allowed: bool) -> None:
    on = inspector(TOOLS)
    out = b""
    for piece in pieces:
        out += on.feed(event(delta(name=piece)), end=False).data
        assert not names(out), "nothing of it is out before its end is known"
    made = on.feed(event(delta(arguments='{"q": 1}')) + event(delta(finish="tool_calls")), end=True)
    assert made.cut is not allowed
    rest = names(out + made.data)
    assert rest == ([joined] + [""] * (len(pieces) - 1) if allowed else [])


def test_pieces_of_two_calls_are_not_joined_with_each_other() -> None:
    on = inspector(TOOLS)
    data = event(delta(0, name="get")) + event(delta(1, name="weather")) + event(delta(finish="tool_calls"))
    made = on.feed(data, end=True)
    assert not made.cut
    assert names(made.data) == ["get", "weather"]


def test_signs_of_life_do_not_end_a_name_and_the_end_of_the_stream_does() -> None:
    on = inspector(TOOLS)
    assert on.feed(event(delta(name="get_")) + b":\n\n", end=False).data == b""
    out = on.feed(event(delta(name="weather", arguments='{"q": 1}')), end=True).data
    assert names(out) == ["get_weather", ""]
    assert inspector(TOOLS).feed(event(delta(name="get_")), end=True).cut


def test_a_text_ends_a_name_also_where_its_event_is_read_by_the_shape_of_an_earlier_one() -> None:
    stream = inspector(TOOLS)
    said = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("one", "two")]
    first, name, second = (event(each) for each in (said[0], delta(name="get"), said[1]))
    assert stream.feed(first, end=False).data == first
    assert stream.feed(name, end=False).data == b""
    assert stream.feed(second, end=False).data == name + second


def test_a_name_that_is_said_again_is_not_joined_with_itself() -> None:
    on = inspector(Canary(tokens=(TOKEN,), action="cut"))
    data = event(delta(name="get")) + event(delta(name="get", arguments="{}"))
    assert on.feed(data, end=True).data == data


@settings(deadline=None)
@given(cuts=st.lists(st.integers(1, len(TOKEN) + 3), max_size=5))
def test_a_canary_in_pieces_of_a_name_is_found(cuts: list[int]) -> None:
    name = f"to_{TOKEN}"
    pieces = [name[a:b] for a, b in pairwise(sorted({*cuts, 0, len(name)})) if name[a:b]]
    on = inspector(Canary(tokens=(TOKEN,), action="redact"))
    data = b"".join(event(delta(name=piece)) for piece in pieces) + event(delta(arguments="{}"))
    assert "".join(names(on.feed(data, end=True).data)) == "to_[REDACTED]"


def test_a_name_without_an_end_is_refused_and_not_held_for_ever() -> None:
    on = inspector(Canary(tokens=(TOKEN,), action="cut"))
    pieces = [event(delta(name=f"{number:08}")) for number in range(MAX_NAME // 8 + 1)]
    outputs = [on.feed(piece, end=False) for piece in pieces]
    assert not any(output.cut for output in outputs[:-1])
    assert outputs[-1].cut
    assert not names(b"".join(output.data for output in outputs))


def test_shadow_mode_passes_the_bytes_as_they_come() -> None:
    on = inspector(TOOLS, shadow=True)
    first, second = event(delta(name="ge")), event(delta(name="t_secrets"))
    assert on.feed(first, end=False).data == first
    assert on.feed(second, end=True).data == second
    assert {finding.kind for finding in on.findings} == {"tool_not_allowed"}
