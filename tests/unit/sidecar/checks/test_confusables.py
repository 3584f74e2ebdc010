"""Letters that look alike are the same letter to a canary, in a whole text and in a stream."""

# ruff: noqa: RUF001 - look-alikes are the subject
from __future__ import annotations

import json
import sys

import pytest

from bartizan.policy.checks import Canary
from sidecar.checks.base import CheckSet
from sidecar.checks.confusables import lower_latin
from sidecar.checks.detectors import canary
from sidecar.checks.stream import StreamInspector
from sidecar.formats.openai_stream import openai_stream

TOKEN = "ZEBRA-phoenix-7731"
WRITTEN = [
    "ΖЕВRА-рһоеnіх-7731",  # Greek and Cyrillic
    "zевrа-рhоеniх-7731",
    "𝐙𝐄𝐁𝐑𝐀-𝓅𝒽ℴℯ𝓃𝒾𝓍-𝟟𝟟𝟛𝟙",
    "ⓏⒺⒷⓇⒶ-ⓟⓗⓞⓔⓝⓘⓧ-7731",
    "Žébrå-phøenix-7731".replace("ø", "ö"),
    "Ze\u0301bra\u0300-phoe\u0302nix-7731",
    "ᴢᴇʙʀᴀ phoenix 7731",
]
CHECK = canary.build(Canary(tokens=(TOKEN, "ключ-от-дома-42"), action="redact"))


@pytest.mark.parametrize("written", WRITTEN)
def test_a_canary_in_letters_that_look_like_its_own_is_found_where_it_stands(written: str) -> None:
    text = f"it is {written}, really"
    assert [text[match.start : match.end] for match in CHECK.matches(text)] == [written]


def test_a_canary_of_another_script_is_found_as_before() -> None:
    text = "вот: Ключ-от-дома-42."
    assert [text[match.start : match.end] for match in CHECK.matches(text)] == ["Ключ-от-дома-42"]


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_none_of_it_flows_however_it_is_split(written: str, size: int) -> None:
    stream = openai_stream(legacy=False)
    inspector = StreamInspector(stream, CheckSet(texts=[CHECK]), shadow=False)
    text = f"it is {written}, really"
    out = b""
    for at in range(0, len(text), size):
        event = {"choices": [{"index": 0, "delta": {"content": text[at : at + size]}}]}
        out += inspector.feed(b"data: " + json.dumps(event).encode() + b"\n\n", end=False).data
    out += inspector.feed(b"data: [DONE]\n\n", end=True).data
    said = ""
    for written_out in out.decode().split("\n\n"):
        if written_out.startswith("data: {"):
            said += json.loads(written_out[6:])["choices"][0]["delta"]["content"]
    assert said == "it is [REDACTED], really"


def test_folding_keeps_every_place() -> None:
    for code in range(sys.maxunicode + 1):
        assert len(lower_latin(chr(code))) == 1


@pytest.mark.parametrize("text", ["phoenix 7731 zebra", "ZEBRA-phenix-7731", "зебра-феникс-7731"])
def test_what_only_resembles_it_is_none(text: str) -> None:
    assert not CHECK.matches(text)
