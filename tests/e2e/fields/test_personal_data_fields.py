"""Fields about personal data, canaries of tenants and extraction, against real Envoy, agent and worker: each test fails
when its field is ignored.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.field_world import CARD, EMAIL, World, policy
from tests.support.raw_client import wait_until
from tests.support.raw_model import Received, Write, answer, sse

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("fields")]

BOTH: dict[str, Any] = {"routes": [{"path": "/both", "inputText": ["$.text"], "outputText": ["$.echo"]}]}
CHAT: dict[str, Any] = {
    "model": {"name": "m", "protocol": "openai", "port": "{model}"},
    "routes": None,
}
KEY = "file:pseudonyms.key"


def both_ways(world: World, text: str) -> tuple[str, str]:
    """What is left of a text in a request and in an answer."""
    assert world.ask("/in", {"text": text}).status == 200
    return world.said(), world.ask("/out", {"text": text}).json()["echo"]


def kinds(world: World, got: Any) -> set[tuple[str, str, str]]:
    found = world.record(got).get("findings", ())
    return {(one["check"], one["kind"], one["action"]) for one in found}


def test_regions_words_and_patterns_decide_what_is_personal_data(world: World) -> None:
    types = ["national_id", "phone", "email"]
    text = "756.9217.0769.85, DNI 12345678Z, (415) 555-2671, a@help.example, a@b.example"
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({}, "[NATIONAL_ID], DNI [NATIONAL_ID], [PHONE], [EMAIL], [EMAIL]"),
        (
            {"regions": ["ES"]},
            "756.9217.0769.85, DNI [NATIONAL_ID], (415) 555-2671, [EMAIL], [EMAIL]",
        ),
        (
            {"allowPatterns": [r".*@help\.example", "7.*"]},
            "756.9217.0769.85, DNI [NATIONAL_ID], [PHONE], a@help.example, [EMAIL]",
        ),
    )
    for check, left in cases:
        spec: list[dict[str, Any]] = [{"pii": {"types": types, **check}}]
        world.use(input=spec, output=spec)
        assert both_ways(world, text) == (left, left), check
    texts = {
        "phone": ("Rufnummer 1712345678", "Rufnummer [PHONE]"),
        "card": ("pan 3522235032377454", "pan [CARD]"),
        "ssn": ("benefit 536904399", "benefit [SSN]"),
        "national_id": ("Versichertennr 86095742719", "Versichertennr [NATIONAL_ID]"),
        "passport": ("Dokument C01X00T47", "Dokument [PASSPORT]"),
        "driving_licence": ("permit F162823540116", "permit [DRIVING_LICENCE]"),
        "birth_date": ("nació 23/10/1951", "nació [BIRTH_DATE]"),
    }
    words = {kind: [said.split()[0]] for kind, (said, _) in texts.items()}
    spec = [{"pii": {"types": [kind], "context": {kind: words[kind]}}} for kind in texts]
    world.use(input=spec, output=spec)
    for said, left in texts.values():
        assert both_ways(world, said) == (left, left)


def test_pseudonyms_need_their_key_and_follow_it_and_the_tenant(world: World) -> None:
    file = world.sidecar.folder / "certs" / "pseudonyms.key"
    file.unlink(missing_ok=True)
    spec = [{"pii": {"types": ["email"], "replacement": "pseudonym", "key": KEY}}]
    world.version += 1
    refused = world.sidecar.signed(world.version, _policy(world, input=spec, output=spec))
    for content, reason in ((None, "file_missing"), (b"k" * 31, "pseudonym_key_too_short")):
        if content is not None:
            file.write_bytes(content)
        world.sidecar.publish(refused)
        said = world.sidecar.until(lambda now: reason in json.dumps(now))  # noqa: B023
        assert "spec.input[0].pii.key" in json.dumps(said)
    file.write_bytes(b"k" * 32)
    world.use(input=spec, output=spec)

    def pseudonym(text: str = EMAIL, key: str = "acme") -> str:
        assert world.ask("/in", {"text": text}, key=key).status == 200
        return world.said()

    first = pseudonym()
    assert first.startswith("[EMAIL:")
    assert pseudonym(EMAIL.upper()) == first == pseudonym(key="acme2")
    assert world.ask("/out", {"text": EMAIL}).json()["echo"] == first
    assert pseudonym(key="globex") != first
    assert pseudonym("joe@example.org") != first
    file.write_bytes(b"n" * 32)
    assert wait_until(lambda: pseudonym() != first), "the key was renewed"
    assert pseudonym()[7:9] != first[7:9], "and the pseudonym says so"
    assert world.sidecar.log().count("k" * 31) == 0


def test_tokens_reach_the_model_and_what_they_stand_for_the_client(world: World) -> None:
    spec = [{"pii": {"types": ["email", "card"], "replacement": "token"}}]
    world.use(**BOTH, input=spec)
    text = f"{EMAIL}, {CARD}; {EMAIL}: <EMAIL_7>"
    got = world.ask("/both", {"text": text})
    assert (got.status, got.json()["echo"]) == (200, text)
    assert world.said() == "<EMAIL_1>, <CARD_1>; <EMAIL_1>: <EMAIL_7>"
    assert kinds(world, got) == {
        ("pii", "email", "redact"),
        ("pii", "card", "redact"),
        ("restore", "email", "redact"),
        ("restore", "card", "redact"),
    }
    world.use(**BOTH, input=spec, output=[{"pii": {"types": ["email"]}}])
    world.model.script = _says(lambda text: f"{text} and bob@leak.example")
    assert world.ask("/both", {"text": EMAIL}).json()["echo"] == f"{EMAIL} and [EMAIL]"
    world.model.script = None
    world.use(mode="shadow", **BOTH, input=spec)
    got = world.ask("/both", {"text": EMAIL})
    assert (world.said(), got.json()["echo"]) == (EMAIL, EMAIL)


def test_a_stream_gets_back_what_its_tokens_stand_for_split_anywhere(world: World) -> None:
    world.use(**CHAT, input=[{"pii": {"types": ["email", "coordinates"], "replacement": "token"}}])
    place = "52°31'12\"N 13°24'18\"E"
    seen: list[str] = []

    def stream(request: Received, write: Write) -> None:
        said = json.loads(request.body)["messages"][0]["content"]
        seen.append(said)
        arguments = json.dumps({"to": said}).replace("<", "\\u003c").replace(">", "\\u003e")
        sse(*map(_delta, said), *(_call(char) for char in arguments), b"data: [DONE]\n\n")(request, write)

    world.model.script = stream
    text = f"from {place} to {EMAIL}"
    body = {"stream": True, "messages": [{"role": "user", "content": text}]}
    got = world.ask("/v1/chat/completions", body)
    world.model.script = None
    assert seen == ["from <COORDINATES_1> to <EMAIL_1>"]
    events = [json.loads(line[6:]) for line in got.body.decode().splitlines() if line.startswith("data: {")]
    deltas = [event["choices"][0]["delta"] for event in events]
    assert "".join(delta.get("content") or "" for delta in deltas) == text
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"to": text}
    assert {("restore", "coordinates", "redact"), ("restore", "email", "redact")} <= kinds(world, got)
    assert EMAIL not in world.sidecar.log() + json.dumps(world.sidecar.records())


def test_a_canary_says_whose_it_is(world: World) -> None:
    check = {
        "tokens": ["canary-of-all-71"],
        "tenants": {"acme": ["canary-acme-9f3c"], "globex": ["canary-globex-1a2b"]},
        "action": "redact",
    }
    world.use(**BOTH, output=[{"canary": check}])
    for token, kind in (
        ("canary-of-all-71", "canary"),
        ("canary-acme-9f3c", "canary:acme"),
        ("canary-globex-1a2b", "canary:globex"),
    ):
        got = world.ask("/both", {"text": f"it is {token}."})
        assert got.json()["echo"] == "it is [REDACTED]."
        assert kinds(world, got) == {("canary", kind, "redact")}
        assert token not in json.dumps(world.record(got))


def test_many_different_queries_of_one_caller_are_flagged_or_denied(world: World) -> None:
    found = ("extractionWatch", "many_queries")
    watch: dict[str, Any] = {"window": "301s", "maxQueries": 5, "spread": 0.5, "action": "deny"}
    world.use(**BOTH, input=[{"extractionWatch": watch}])
    before = world.reached()
    got = [world.ask("/both", {"text": f"query {number}"}) for number in range(7)]
    assert [one.status for one in got] == [200] * 5 + [403] * 2
    assert world.reached() - before == 5
    assert kinds(world, got[-1]) == {(*found, "deny")}
    assert world.ask("/both", {"text": "query"}, key="acme2").status == 200
    world.use(**BOTH, input=[{"extractionWatch": {**watch, "action": "flag"}}])
    flagged = world.ask("/both", {"text": "one more"})
    assert (flagged.status, kinds(world, flagged)) == (200, {(*found, "flag")})
    # another window is another count; the same question again and again is no extraction, unless spread says so
    world.use(**BOTH, input=[{"extractionWatch": {**watch, "window": "302s"}}])
    assert {world.ask("/both", {"text": "same"}).status for _ in range(9)} == {200}
    world.use(**BOTH, input=[{"extractionWatch": {**watch, "window": "303s", "spread": 0}}])
    assert {world.ask("/both", {"text": "same"}).status for _ in range(9)} == {200, 403}
    # a window that has passed
    world.use(**BOTH, input=[{"extractionWatch": {**watch, "window": "6s"}}])
    numbers = itertools.count()
    assert wait_until(lambda: world.ask("/both", {"text": f"query {next(numbers)}"}).status == 403)
    # refused questions count, too: so not too many of them
    assert wait_until(lambda: world.ask("/both", {"text": "later"}).status == 200, every=2.0)
    # rows of a batch are queries
    world.use(
        model={"name": "m", "protocol": "kserve_v1", "port": "{model}"},
        routes=None,
        input=[{"extractionWatch": {**watch, "window": "304s"}}],
    )
    rows = {"instances": [[number] for number in range(6)]}
    assert world.ask("/v1/models/m:predict", rows).status == 403


def _policy(world: World, **spec: Any) -> str:
    return policy(None, **spec).replace("{issuer}", world.issuer.url)


def _says(change: Callable[[str], str]) -> Callable[[Received, Write], None]:
    def model(request: Received, write: Write) -> None:
        write(answer(json.dumps({"echo": change(json.loads(request.body)["text"])}).encode()))

    return model


def _chunk(delta: dict[str, Any]) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    made = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return f"data: {json.dumps(made)}\n\n".encode()


def _delta(text: str) -> bytes:
    return _chunk({"content": text})


def _call(arguments: str) -> bytes:
    return _chunk({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": arguments}}]})
