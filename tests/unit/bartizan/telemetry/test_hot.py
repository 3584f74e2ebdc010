"""The hot path's metrics are exposed exactly as prometheus_client's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from bartizan.telemetry.hot import HotCounter, HotHistogram

BOUNDS = (0.001, 0.5, 1.0, 2.5)


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


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, *BOUNDS, 0.25, 9.0]))))
def test_a_histogram_says_what_the_librarys_says(observed: list[tuple[str, float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    hot = HotHistogram("x_seconds", "Help.", "phase", BOUNDS, registry=ours)
    cold = Histogram("x_seconds", "Help.", ["phase"], buckets=BOUNDS, registry=theirs)
    hot.observe(observed[:1])
    samples(ours)  # looking at it changes nothing
    hot.observe(observed[1:])
    for label, value in observed:
        cold.labels(label).observe(value)
    assert samples(ours) == samples(theirs)


def test_a_histogram_keeps_few_samples_beside_its_buckets() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    hot = HotHistogram("x_seconds", "Help.", "phase", BOUNDS, registry=ours)
    cold = Histogram("x_seconds", "Help.", ["phase"], buckets=BOUNDS, registry=theirs)
    for number in range(3_000):
        hot.observe([("a", float(number % 4))])
        cold.labels("a").observe(float(number % 4))
    assert sum(map(len, hot._waiting.values())) < 1_000
    assert samples(ours) == samples(theirs)


def test_one_name_is_registered_once() -> None:
    registry = CollectorRegistry()
    HotCounter("x_total", "Help.", ["one"], registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        HotHistogram("x_total", "Help.", "one", BOUNDS, registry=registry)
