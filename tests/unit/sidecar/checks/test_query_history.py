"""What callers asked lately is counted in bounded memory, and what was long ago is forgotten."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from bartizan.policy.checks import ExtractionWatch
from sidecar.checks.query_history import SLICES, QueryHistory
from sidecar.checks.validators import extraction
from sidecar.model.finding import Action


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def numbered(first: int, count: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, first + count)]


@pytest.mark.parametrize("count", [1, 10, 200, 5_000])
def test_different_queries_are_told_from_repeated_ones(count: int) -> None:
    history = QueryHistory(clock=Clock(), _key=b"k" * 16)
    history.ask("a", 60, numbered(0, count))
    asked = history.ask("a", 60, [b"0"] * 50)
    assert asked.queries == count + 50
    assert abs(asked.different() - count) <= max(1.0, 0.2 * count)


def test_callers_with_long_names_are_counted_apart_and_their_names_are_not_kept() -> None:
    history = QueryHistory(clock=Clock())
    long = ["s" * 6_000 + end for end in "ab"]
    assert [history.ask(who, 60, [b"x"]).queries for who in (*long, long[0])] == [1, 1, 2]
    assert max(len(name) for name, _window in history._callers) <= 32


def test_callers_and_windows_are_counted_apart() -> None:
    history = QueryHistory(clock=Clock())
    history.ask("a", 60, numbered(0, 9))
    assert [
        history.ask(who, window, [b"x"]).queries for who, window in (("b", 60), ("a", 90), ("a", 60))
    ] == [
        1,
        1,
        10,
    ]


def test_a_query_counts_for_a_window_and_no_longer() -> None:
    clock = Clock()
    history = QueryHistory(clock=clock)
    history.ask("a", 80, numbered(0, 5))
    clock.now += 80 - 80 / SLICES - 1
    assert history.ask("a", 80, [b"x"]).queries == 6
    clock.now += 80 / SLICES + 2
    asked = history.ask("a", 80, [b"x"])
    assert (asked.queries, round(asked.different())) == (2, 1)
    clock.now += 10_000
    assert history.ask("a", 80, [b"y"]).queries == 1


def test_memory_is_bounded_and_the_longest_silent_caller_is_forgotten_first() -> None:
    history = QueryHistory(clock=Clock(), most=3)
    for caller in ("a", "b", "c"):
        history.ask(caller, 60, [b"x"])
    history.ask("a", 60, [b"x"])
    history.ask("d", 60, [b"x"])
    assert len(history._callers) == 3
    assert [history.ask(caller, 60, [b"x"]).queries for caller in ("a", "b")] == [3, 1]


def test_threads_lose_no_query() -> None:
    history = QueryHistory(clock=Clock())
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(_ask_often, history, str(number)) for number in range(4)]:
                done.result()
    finally:
        sys.setswitchinterval(before)
    assert history.ask("all", 60, []).queries == 4 * 500


def _ask_often(history: QueryHistory, own: str) -> None:
    for number in range(500):
        history.ask("all", 60, [b"%d" % number])
        if number % 50 == 0:
            history.ask(own, 60, [b"x"])
            history.ask("all", 60, [])


def test_nothing_of_a_query_is_kept_or_shown() -> None:
    history = QueryHistory(clock=Clock())
    asked = history.ask("a", 60, [b"secret-query"])
    assert "secret" not in repr(history) + repr(asked) + str(history._callers)


@pytest.mark.parametrize(
    ("queries", "share", "found"),
    [
        (numbered(0, 20), 1.0, False),  # as many as are allowed
        (numbered(0, 21), 1.0, True),
        ([b"same"] * 500, 1.0, False),  # a monitor asks the same again and again
        ([b"same"] * 10 + numbered(0, 15), 1.0, True),
        (numbered(0, 11), 0.5, True),  # two workers: each has half of the bound
        (numbered(0, 10), 0.5, False),
    ],
)
def test_many_queries_of_which_most_are_different_are_a_finding(
    queries: list[bytes], share: float, found: bool
) -> None:
    history = QueryHistory(clock=Clock(), share=share, _key=b"k" * 16)
    check = extraction.build(ExtractionWatch(window="10m", max_queries=20, spread=0.5, action="deny"))
    findings = check.judge(history, "a", queries)
    assert [(one.check, one.kind, one.action) for one in findings] == (
        [("extractionWatch", "many_queries", Action.DENY)] if found else []
    )
