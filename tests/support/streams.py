"""Streams of a chat model cut into pieces: what is planted in them, the checks over them, what a client gathers."""

# ruff: noqa: RUF001 - primes as people write them, look-alikes
from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from typing import Any

from bartizan.policy.checks import Canary, NameType, Pii, PiiType, Secrets
from sidecar.checks.base import CheckSet, SpanCheck
from sidecar.checks.content import apply_edits
from sidecar.checks.detectors import canary, pii, secrets
from sidecar.checks.stream import StreamInspector, StreamOutput
from sidecar.formats.base import TextPart
from sidecar.formats.openai_stream import openai_stream
from sidecar.formats.sse import EventSplitter

TOKEN = "ZEBRA-phoenix-7731"
PLANTED = {
    "email": "jane.roe+x@mail.example.com",
    "card": "4111 1111 1111 1111",
    "iban": "GB82 WEST 1234 5698 7654 32",
    "phone": "+49 30 1234567",
    "canary": TOKEN,
    "spread canary": " ".join(TOKEN),
    "look-alike canary": "ΖЕВRА-рһоеnіх-7731",
    "aws": "AKIA" + "Q3EGRIJ7SNNH2LKP",
    "azure": "bP88Q" + "~rcBcYjzzOhg1Hnn76Wm3jGgakZiZ.8vMgR",
    "named": "client_secret = " + "zq83hfk20dkw93jf8",
    "password": "password is hT7#kd02L",
    "basic": "Authorization: Basic " + "YXBpOmQya2VMRTc4ekx4IXQ1" * 5,
    "user": "-u elastic:P4ssw0rd!x",
    "ssn": "536-90-4399",
    "announced": "ssn 536904399",
    "nir": "1 84 12 76 451 089 46",
    "nino": "AB 12 34 56 C",
    "codice": "RSSMRA85T10A562S",
    "nie": "X1234567L",
    "hetu": "131052-308T",
    "ip": "8.8.8.8",
    "ip6": "2606:4700:4700::1111",
    "mac": "00:1B:44:11:3A:B7",
    "wallet": "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
    "bech32": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    "passport": "passport AB 123456",
    "birth": "born on March 12, 1985",
    "street": "1600 Pennsylvania Avenue",
    "strasse": "Hauptstraße 12 a",
    "rue": "36 rue de Pologne",
    "via": "Via Roma 131",
    "box": "PO Box 1234",
    "place": "52.520008, 13.404954",
    "degrees": "52°31′12″N 13°24′18″E",
}


def checks(action: str = "redact", types: tuple[PiiType | NameType, ...] = Pii().types) -> list[SpanCheck]:
    return [
        pii.build(Pii(types=types, action=action)),  # type: ignore[arg-type]
        secrets.build(Secrets(action=action)),  # type: ignore[arg-type]
        canary.build(Canary(tokens=(TOKEN,), action="redact" if action == "redact" else "flag")),
    ]


def redaction(text: str, over: list[SpanCheck]) -> str:
    for check in over:
        text = apply_edits(text, check.inspect(TextPart(location="x", text=text)).edits)
    return text


def chunk(
    delta: dict[str, Any], *, index: int = 0, finish: str | None = None, ascii_only: bool = False
) -> bytes:
    body = {"id": "c1", "model": "m", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}
    return b"data: " + json.dumps(body, ensure_ascii=ascii_only).encode() + b"\n\n"


def split(text: str, cuts: list[int]) -> list[str]:
    places = sorted({cut % (len(text) + 1) for cut in cuts} | {0, len(text)})
    return [text[a:b] for a, b in pairwise(places)]


def received(data: bytes) -> dict[str, str]:
    """What a client gathers from the events, by choice and field."""
    out: dict[str, str] = defaultdict(str)
    for event in EventSplitter().feed(data, end=True):
        if event.data is None or event.data == b"[DONE]":
            continue
        for choice in json.loads(event.data).get("choices", ()):
            for key, value in choice.get("delta", {}).items():
                if key == "tool_calls":
                    for call in value:
                        out[f"{choice['index']}.call{call['index']}"] += call["function"]["arguments"]
                else:
                    out[f"{choice['index']}.{key}"] += value
    return dict(out)


def run(data: bytes, sizes: list[int], over: list[SpanCheck], *, shadow: bool = False) -> list[StreamOutput]:
    inspector = StreamInspector(
        openai_stream(legacy=False), CheckSet(texts=over), shadow=shadow, decision_id="d1"
    )
    outputs = []
    at = 0
    for size in [*sizes, len(data)]:
        piece = data[at : at + size]
        at += size
        outputs.append(inspector.feed(piece, at >= len(data)))
        if at >= len(data):
            break
    return outputs
