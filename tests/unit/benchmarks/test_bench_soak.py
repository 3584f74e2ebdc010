"""The soak test's verdict: it says bad when something was bad."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from benchmarks.scenarios import MIX, SHED, Answer, judged, read
from benchmarks.soak import Watch, _judge


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(status=200, body=b"it is here"), ""),
        (Answer(status=403), "403 instead of 200"),
        (Answer(status=503), "503 instead of 200"),
        (Answer(status=503, shed=True), SHED),
        (Answer(status=200, body=b"it is here", whole=False), "200, but broken off"),
        (Answer(status=200, body=b"nothing"), "200 without what it must have"),
        (Answer(status=200, body=b"it is here: canary"), "200 with what it must not have"),
    ],
)
def test_an_answer_is_right_or_said_what_is_wrong(answer: Answer, said: str) -> None:
    assert judged(answer, 200, has=b"here", lacks=b"canary") == said


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", Answer(status=0, whole=False)),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", Answer(status=200, body=b"ab")),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", Answer(status=200, body=b"ab", whole=False)),
        (
            b"HTTP/1.1 503 x\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n",
            Answer(status=503, shed=True),
        ),
    ],
)
async def test_an_answer_is_read_to_the_end_of_its_connection(raw: bytes, expected: Answer) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(raw)
    reader.feed_eof()
    assert await read(reader) == expected


def watch(*, growth: float = 0.0, wrong: str = "", lost: str = "") -> Watch:
    made = Watch()
    made.played["good"] = 1000
    if wrong:
        made.wrong[wrong] += 1
    if lost:
        made.lost[lost] += 1
    for number in range(120):  # ten minutes
        at = number * 5.0
        spike = 30.0 if number % 3 == 0 else 0.0
        sample = {"at": at}
        for role in ("envoy", "python", "agent"):
            sample |= {f"{role}_rss_mb": 100 + growth * at / 60 + spike, f"{role}_files": 20}
        made.samples.append(sample)
    return made


GOOD: dict[str, Any] = {
    "minutes": 10.0,
    "active": {},
    "rest": {f"{role}_{name}": 20 for role in ("envoy", "python", "agent") for name in ("rss_mb", "files")},
    "used": dict.fromkeys(("envoy", "python", "agent"), 1.0),
    "never": 0,
}


def test_nothing_wrong_is_a_good_verdict_whatever_a_body_in_flight_weighs() -> None:
    assert _judge(watch(), **GOOD)["problems"] == []


BAD: dict[str, Callable[[], dict[str, Any]]] = {
    "a wrong decision": lambda: _judge(watch(wrong="leak: 200 instead of 403"), **GOOD),
    "memory that grows": lambda: _judge(watch(growth=2.0), **GOOD),
    "a stuck stream": lambda: _judge(watch(), **GOOD | {"active": {"http.x.downstream_rq_active": 1.0}}),
    "an attack that reached the model": lambda: _judge(watch(), **GOOD | {"never": 1}),
    "a lost process": lambda: _judge(watch(lost="python"), **GOOD),
    "files that stay open": lambda: _judge(watch(), **GOOD | {"rest": GOOD["rest"] | {"python_files": 40}}),
}


@pytest.mark.parametrize("name", BAD)
def test_each_thing_that_is_wrong_makes_the_verdict_bad(name: str) -> None:
    found = BAD[name]()
    assert found["verdict"] == "bad"
    assert len(found["problems"]) >= 1


def test_every_scenario_is_played() -> None:
    assert all(weight > 0 for weight in MIX.values())
    chance = random.Random(1)
    scenarios: list[Callable[..., Awaitable[str]]] = list(MIX)
    assert set(chance.choices(scenarios, list(MIX.values()), k=2000)) == set(MIX)
