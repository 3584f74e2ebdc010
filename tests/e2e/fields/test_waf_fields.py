"""The web application firewall, against real Envoy, agent, worker and libmodsecurity with the OWASP Core Rule Set."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from sidecar.checks.waf import ruleset
from tests.support.field_world import World
from tests.support.raw_client import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("fields"),
    pytest.mark.skipif(ruleset.find() is None, reason="needs Debian's modsecurity-crs"),
]

SQL = "1' or 1=1 union select password from users -- "
PROSE = "In SQL, is SELECT name FROM users WHERE id = 1 OR 1=1 a tautology? Also explain cat /etc/passwd; rm -rf /."


def waf(world: World, **crs: Any) -> None:
    world.use(waf={"crs": crs}, routes=[{"path": "/in", "inputText": ["$.text"]}])


def rules(world: World, answer: Any) -> dict[str, str]:
    found = world.record(answer).get("findings", ())
    return {one["kind"]: one["action"] for one in found if one["check"] == "waf"}


def test_attacks_outside_of_prompts_are_blocked_or_detected_by_rule(world: World) -> None:
    for mode, status in (("block", 403), ("detect", 200)):
        waf(world, mode=mode)
        for path, body in (
            ("/in?q=%3Cscript%3Ealert(1)%3C/script%3E", {"text": "hi"}),
            ("/in", {"text": "hi", "model": SQL}),
            ("/in", {"text": "hi", "nested": [{"file": "../../../../etc/passwd"}]}),
        ):
            before = world.reached()
            answer = world.ask(path, body)
            assert (answer.status, world.reached() - before) == (status, int(status == 200)), (mode, body)
            found = rules(world, answer)
            assert {kind for kind, action in found.items() if not kind.startswith("strict-")}, body
            assert ("deny" in found.values()) == (mode == "block")
            assert world.record(answer)["cause"] == ("waf" if mode == "block" else "allowed")
    assert world.ask("/in", {"text": "hello", "temperature": 0.5}).status == 200


def test_prompts_are_skipped_unless_told_otherwise(world: World) -> None:
    for fields, status in (("skip", 200), ("scan", 403)):
        waf(world, promptFields=fields)
        assert world.ask("/in", {"text": PROSE}).status == status


def test_the_next_paranoia_level_is_recorded_and_never_blocks(world: World) -> None:
    body = {"text": "hi", "note": "a=1; b=2 -- (c) {d}"}
    waf(world, paranoia=1)
    answer = world.ask("/in", body)
    found = rules(world, answer)
    assert answer.status == 200
    assert found
    assert all(kind.startswith("strict-") and action == "flag" for kind, action in found.items()), found
    waf(world, paranoia=2)
    assert {kind.removeprefix("strict-") for kind in found} <= rules(world, world.ask("/in", body)).keys()


def test_a_body_beyond_its_limit_is_refused_and_shadow_lets_it_pass(world: World) -> None:
    large = {"text": "hi", "notes": ["a" * 900] * 40}
    waf(world)
    assert world.ask("/in", large).status == 413
    world.use(waf={"crs": {}}, mode="shadow")
    answer = world.ask("/in", large)
    assert (answer.status, world.record(answer)["shadow"]) == (200, True)


def test_a_firewall_that_dies_or_hangs_lets_nothing_pass_and_comes_back(world: World) -> None:
    waf(world)
    assert world.ask("/in", {"text": "hi"}).status == 200
    for number in (signal.SIGKILL, signal.SIGSTOP):
        for child in children(world):
            os.kill(child, number)
        before = world.reached()
        answer = world.ask_once("/in", {"text": "hi", "model": SQL})
        assert answer.status in {403, 503}
        assert world.reached() == before
        assert wait_until(lambda: world.ask_once("/in", {"text": "hi"}).status == 200)


def children(world: World) -> list[int]:
    workers: list[int] = world.sidecar.status()["workers"]["pids"]
    found: list[int] = []
    for worker in workers:
        for listed in Path(f"/proc/{worker}/task").glob("*/children"):  # by the thread that started each
            found += [int(child) for child in listed.read_text().split()]
    assert found
    return found
