"""Fields of a classifier of the operator's own, against real Envoy, agent, worker and its process: each test fails when
its field is ignored.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.fields.test_personal_data_fields import kinds
from tests.support.classifiers import ATTACK, BENIGN, WORD, Made, made
from tests.support.field_world import World

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("fields")]

OTHER = "0" * 64
CLASSIFIED = ("promptInjection", "classified_injection", "deny")


@pytest.fixture
def files(world: World) -> Made:
    return made(world.models)


def check(files: Made, **changed: Any) -> list[dict[str, Any]]:
    return [{"promptInjection": {"classifier": files.written() | changed}}]


def test_only_the_classifier_that_the_policy_describes_is_taken(world: World, files: Made) -> None:
    world.use(input=[{"promptInjection": {}}])
    for changed, reason in (
        ({"model": "file:gone.onnx"}, "gone.onnx: no such file"),
        ({"sha256": OTHER}, "guard.onnx: its SHA-256 is"),
        ({"tokenizer": "file:gone.json"}, "gone.json: no such file"),
        ({"tokenizerSha256": OTHER}, "tokenizer.json: its SHA-256 is"),
        ({"attackLabels": [0]}, "selfTest.attack got 0.00"),
        ({"threshold": 1.0}, "wanted at least 1"),
        ({"selfTest": {"attack": BENIGN, "benign": BENIGN}}, "selfTest.attack got"),
        ({"selfTest": {"attack": ATTACK, "benign": ATTACK}}, "selfTest.benign got"),
    ):
        world.refuse(reason, input=check(files, **changed))
        assert world.ask(body={"text": ATTACK}).status == 200, "the policy before is in force"
    world.use(input=check(files))
    assert world.ask(body={"text": ATTACK}).status == 403


def test_a_classifier_denies_what_nothing_else_does_where_it_is_asked(world: World, files: Made) -> None:
    world.use(input=check(files))
    before = world.reached()
    refused = world.ask(body={"text": ATTACK})
    assert (refused.status, world.reached()) == (403, before)
    assert kinds(world, refused) == {CLASSIFIED}
    assert world.ask(body={"text": BENIGN}).status == 200
    world.use(input=check(files, askFrom=1.0))
    assert world.ask(body={"text": ATTACK}).status == 200


def test_long_texts_are_read_in_windows_of_so_many_tokens(world: World, files: Made) -> None:
    text = f"{'tea ' * 40}{WORD} {'tea ' * 40}"
    for tokens, status in ((16, 403), (512, 200)):
        world.use(input=check(files, maxTokens=tokens))
        assert world.ask(body={"text": text}).status == status, tokens


def test_a_text_that_was_not_judged_whole_is_denied_or_flagged(world: World, files: Made) -> None:
    text = "The kettle is on, and the tea will be ready soon. " * 9_000
    for answer, status in (("deny", 403), ("flag", 200)):
        world.use(input=check(files, onFailure=answer))
        got = world.ask(body={"text": text})
        assert got.status == status
        assert kinds(world, got) == {("promptInjection", "classifier_failed", answer)}
