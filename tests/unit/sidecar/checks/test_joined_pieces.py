"""What a stream says in pieces that are each whole is judged joined, too: a match across them cuts the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bartizan.policy.checks import Canary, Pii, Secrets
from sidecar.checks.catalog import build_checks
from sidecar.checks.joined_pieces import MOST_KEPT, JoinedPieces
from sidecar.checks.pipe import span_check
from sidecar.checks.spans import TOO_MANY
from sidecar.checks.stream import StreamInspector
from sidecar.formats.base import TextPart
from sidecar.formats.openai_stream import openai_stream
from sidecar.model.finding import Action

TOKEN = "ZEBRA-phoenix-7731"
KEY = "AKIA" + "Q3EGRIJ7SNNH2LKP"


def judged(*pieces: str, places: str = "", identifier: bool = False) -> list[tuple[str, Action]]:
    """Findings over pieces of one place, or of one place each by the letters of `places`."""
    checks = build_checks((Canary(tokens=(TOKEN,), action="redact"), Secrets(action="redact"), Pii()))
    joined = JoinedPieces([span_check(check) for check in checks.texts])
    found = []
    for number, text in enumerate(pieces):
        place = places[number] if places else "a"
        part = TextPart(location="x", text=text, identifier=identifier, joins=place)
        found += [(finding.check, finding.action) for finding in joined.judge(part)]
    return found


@pytest.mark.parametrize(
    ("pieces", "places", "checks"),
    [
        ((TOKEN,), "", []),
        ((TOKEN, "x"), "", []),
        ((TOKEN[:5], TOKEN[5:]), "", ["canary"]),
        (tuple(TOKEN), "", ["canary"]),
        ((TOKEN[:5], "x" * 200, TOKEN[5:]), "", []),
        ((TOKEN[:5], TOKEN[5:]), "ab", []),
        ((TOKEN[:5], "y", TOKEN[5:]), "aba", ["canary"]),
        ((KEY[:4], KEY[4:]), "", ["secrets"]),
        (("a" * 5_000, TOKEN[:5], TOKEN[5:] + "a" * 5_000), "", ["canary"]),
        (("jane.roe@", "example.com"), "", []),
    ],
)
def test_what_stands_across_pieces_is_found_once(
    pieces: tuple[str, ...], places: str, checks: list[str]
) -> None:
    assert judged(*pieces, places=places) == [(check, Action.CUT) for check in checks]


def many(places: int) -> list[TextPart]:
    return [TextPart(location="x", text="zz", joins=f"k{number}") for number in range(places)]


def test_many_places_make_none_forgotten_and_too_many_are_a_finding() -> None:
    checks = build_checks((Canary(tokens=(TOKEN,), action="redact"), Secrets(action="flag")))
    joined = JoinedPieces([span_check(check) for check in checks.texts])
    first, second = (TextPart(location="x", text=text, joins="a") for text in (TOKEN[:5], TOKEN[5:]))
    parts = [first, *many(1_000)]
    assert [finding for part in parts for finding in joined.judge(part)] == []
    assert [finding.check for finding in joined.judge(second)] == ["canary"]
    found = {
        (one.check, one.kind, one.action) for part in many(MOST_KEPT // 100) for one in joined.judge(part)
    }
    assert found == {("canary", TOO_MANY, Action.CUT), ("secrets", TOO_MANY, Action.FLAG)}
    assert len(joined._said) < MOST_KEPT // 128


def delta(**members: Any) -> bytes:
    choice = {"index": 0, "delta": members, "finish_reason": None}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + b"\n\n"


@pytest.mark.parametrize("action", ["flag", "redact", "cut"])
@pytest.mark.parametrize("shadow", [False, True])
def test_a_check_that_flags_and_shadow_mode_let_it_flow_and_say_so(action: Any, shadow: bool) -> None:
    checks = build_checks((Canary(tokens=(TOKEN,), action=action),))
    on = StreamInspector(openai_stream(legacy=False), checks, shadow=shadow)
    events = [delta(newer=TOKEN[:5]), delta(content="x"), delta(newer=TOKEN[5:])]
    outputs = [on.feed(event, end=False) for event in events]
    assert outputs[-1].cut is (action != "flag" and not shadow)
    assert [finding.check for finding in on.findings] == ["canary"]
    assert (TOKEN[5:] in outputs[-1].data.decode()) is not outputs[-1].cut
