"""The hot path's metrics are exposed exactly as prometheus_client's own."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from bartizan.telemetry.hot import HotCounter, HotHistogram

BOUNDS = (1 / 512, 0.5, 1.0, 2.5)
"""Sums of fractions of two have no error, in whatever order and unit they are added."""


def samples(registry: CollectorRegistry) -> list[str]:
    lines = generate_latest(registry).decode().splitlines()
    return sorted(line for line in lines if "_created" not in line)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("cd"))))
def test_a_counter_says_what_the_librarys_says(increments: list[tuple[str, str]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    hot = HotCounter("x_total", "Help.", ["one", "two"], registry=ours)
    cold = Counter("x_total", "Help.", ["one", "two"], registry=theirs)
    for labels in increments:
        hot.inc(*labels)
        cold.labels(*labels).inc()
    assert samples(ours) == samples(theirs)


SECOND = 10**9
ENDS = [0, SECOND // 512, 250_000_000, SECOND // 2, SECOND, 2_500_000_000, 9 * SECOND]


@given(
    st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.just(SECOND), st.sampled_from(ENDS)), max_size=3))
)
def test_a_histogram_says_what_the_librarys_says(observed: list[list[tuple[str, int, int]]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    hot = HotHistogram("x_seconds", "Help.", "phase", BOUNDS, registry=ours)
    cold = Histogram("x_seconds", "Help.", ["phase"], buckets=BOUNDS, registry=theirs)
    for number, times in enumerate(observed):
        hot.observe([(label, began, began + lasted) for label, began, lasted in times])
        if number == 1:
            samples(ours)  # looking at it changes nothing
        for label, _, lasted in times:
            cold.labels(label).observe(lasted / SECOND)
    assert samples(ours) == samples(theirs)


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from("abc"), max_size=3).map(tuple),
            st.lists(st.sampled_from(ENDS), min_size=3, max_size=3),
        )
    )
)
def test_samples_that_follow_each_other_are_counted_like_others(
    lines: list[tuple[tuple[str, ...], list[int]]],
) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    hot = HotHistogram("x_seconds", "Help.", "phase", BOUNDS, registry=ours)
    cold = Histogram("x_seconds", "Help.", ["phase"], buckets=BOUNDS, registry=theirs)
    for labels, lasted in lines:
        hot.follow(labels, tuple(accumulate(lasted[: len(labels)], initial=SECOND)))
        for label, each in zip(labels, lasted, strict=False):
            cold.labels(label).observe(each / SECOND)
    assert samples(ours) == samples(theirs)


def test_what_a_histogram_was_given_may_be_changed_afterwards() -> None:
    registry = CollectorRegistry()
    hot = HotHistogram("x_seconds", "Help.", "phase", BOUNDS, registry=registry)
    given_to_it = [("a", 0, SECOND)]
    hot.observe(given_to_it)
    given_to_it.append(("a", 0, SECOND))
    assert 'x_seconds_count{phase="a"} 1.0' in samples(registry)


def test_a_histogram_keeps_few_samples_beside_its_buckets() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    hot = HotHistogram("x_seconds", "Help.", "phase", BOUNDS, registry=ours)
    cold = Histogram("x_seconds", "Help.", ["phase"], buckets=BOUNDS, registry=theirs)
    for number in range(3_000):
        hot.observe([("a", 0, number % 4 * SECOND)])
        hot.follow(("b",), (0, number % 4 * SECOND))
        for label in "ab":
            cold.labels(label).observe(float(number % 4))
    assert len(hot._waiting) + len(hot._following["b",]) < 1_000
    assert samples(ours) == samples(theirs)


def test_one_name_is_registered_once() -> None:
    registry = CollectorRegistry()
    HotCounter("x_total", "Help.", ["one"], registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        HotHistogram("x_total", "Help.", "one", BOUNDS, registry=registry)
