"""Fields about names, against real Envoy, agent, worker and the process of the model: each test fails when its field is
ignored.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.fields.test_personal_data_fields import BOTH, CHAT, both_ways, kinds
from tests.support.field_world import World
from tests.support.names import NAMED, NAMELESS, Made, made
from tests.support.raw_model import sse

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("fields")]

TEXT = "Anna Rivera of Acme is in Bogota."
ALL = ["person", "place", "organisation"]


@pytest.fixture
def files(world: World) -> Made:
    return made(world.models)


def check(names: dict[str, Any] | None, types: list[str] = ALL, **config: Any) -> list[dict[str, Any]]:
    return [{"pii": {"types": types, **({} if names is None else {"names": names}), **config}}]


def test_names_are_found_by_type_in_requests_and_answers(world: World, files: Made) -> None:
    for types, left in (
        (ALL, "[PERSON] of [ORGANISATION] is in [PLACE]."),
        (["person"], "[PERSON] of Acme is in Bogota."),
        (["place"], "Anna Rivera of Acme is in [PLACE]."),
        (["organisation"], "Anna Rivera of [ORGANISATION] is in Bogota."),
    ):
        spec = check(files.written(), types)
        world.use(input=spec, output=spec)
        assert both_ways(world, TEXT) == (left, left), types
    spec = check(files.written(labels={"person": (3,), "place": (1, 2), "organisation": (4,)}))
    world.use(input=spec, output=spec)
    turned = "[PLACE] of [ORGANISATION] is in [PERSON]."
    assert both_ways(world, TEXT) == (turned, turned)
    spec = check(None, ["email", "person"])
    world.use(input=spec, output=spec)
    text, left = "My name is Alex Rivera (alex@example.org).", "My name is [PERSON] ([EMAIL])."
    assert both_ways(world, text) == (left, left), "the model that ships"


def test_only_the_model_that_the_policy_describes_is_taken(world: World, files: Made) -> None:
    other = "0" * 64
    for side in ("input", "output"):
        for changed, reason in (
            ({"file": "file:gone.onnx"}, "gone.onnx: no such file"),
            ({"sha256": other}, "names.onnx: its SHA-256 is"),
            ({"tokenizer": "file:gone.json"}, "gone.json: no such file"),
            ({"tokenizer_sha256": other}, "words.json: its SHA-256 is"),
            ({"threshold": 0.9995}, "in selfTest.named nothing was found"),
            ({"self_test": {"named": NAMELESS, "nameless": NAMELESS}}, "in selfTest.named nothing"),
            ({"self_test": {"named": NAMED, "nameless": "for Anna"}}, "in selfTest.nameless Anna"),
        ):
            world.use(input=[{"pii": {}}])
            spec: dict[str, Any] = {side: check(files.written(**changed))}
            world.refuse(reason, **spec)
            assert world.ask(body={"text": TEXT}).status == 200, "the policy before is in force"


def test_a_model_reads_so_many_tokens_at_once(world: World, files: Made) -> None:
    text = f"May {'tea ' * 20}Anna"  # May is a name where Anna is near
    for tokens, left in ((16, text), (512, text.replace("May", "[PERSON]"))):
        spec = check(files.written(max_tokens=tokens))
        world.use(input=spec, output=spec)
        wanted = left.replace("Anna", "[PERSON]")
        assert both_ways(world, text) == (wanted, wanted), tokens


def test_a_text_that_was_not_read_whole_is_refused_or_flagged(world: World, files: Made) -> None:
    text = "The kettle is on, and the tea will be ready soon. " * 9_000
    for answer, status in (("deny", 403), ("flag", 200)):
        for side, path in (("input", "/in"), ("output", "/out")):
            spec: dict[str, Any] = {side: check(files.written(on_failure=answer))}
            world.use(**spec)
            got = world.ask(path, {"text": text})
            assert got.status == status, side
            assert kinds(world, got) == {("pii", "names_unread", answer)}


def test_tokens_for_names_go_back_into_the_answer(world: World, files: Made) -> None:
    world.use(**BOTH, input=check(files.written(), ["person"], replacement="token"))
    got = world.ask("/both", {"text": TEXT})
    assert world.said() == "<PERSON_1> of Acme is in Bogota."
    assert (got.status, got.json()["echo"]) == (200, TEXT)
    assert kinds(world, got) == {("pii", "person", "redact"), ("restore", "person", "redact")}


@pytest.mark.parametrize("action", ["redact", "deny"])
def test_names_in_a_stream_never_reach_the_client(world: World, files: Made, action: str) -> None:
    world.use(**CHAT, output=check(files.written(), action=action))
    words = [*("tea is hot. " * 60).split(" "), *TEXT.split(" "), *("tea is hot. " * 60).split(" ")]
    events = [
        b"data: "
        + json.dumps(
            {"choices": [{"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None}]}
        ).encode()
        + b"\n\n"
        for word in words
    ]
    world.model.script = sse(*events, b"data: [DONE]\n\n")
    got = world.ask("/v1/chat/completions", {"stream": True, "messages": [{"role": "user", "content": "hi"}]})
    world.model.script = None
    said = ""
    for line in got.body.decode().splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:]).get("choices", ()):
                said += choice["delta"].get("content") or ""
    whole = " ".join(words) + " "
    left = "[PERSON] of [ORGANISATION] is in [PLACE]."
    assert said == (whole.replace(TEXT, left) if action == "redact" else whole[: whole.index("Anna")])
    assert ("pii", "person", action) in kinds(world, got)
