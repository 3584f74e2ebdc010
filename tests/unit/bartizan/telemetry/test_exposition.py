"""What a sidecar shows at /metrics is to the byte what prometheus_client writes, without what that brings along."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    Summary,
    generate_latest,
)

from bartizan.telemetry.exposition import exposition

TEXTS = st.text(st.sampled_from('ab"\\\n é'), max_size=6)


@given(labels=st.lists(TEXTS, max_size=4), value=st.floats(), help_text=TEXTS)
def test_every_kind_of_metric_is_written_as_the_library_writes_it(
    labels: list[str], value: float, help_text: str
) -> None:
    registry = CollectorRegistry()
    counter = Counter("c", help_text, ["b", "a"], registry=registry)
    gauge = Gauge("g", help_text, ["a"], registry=registry)
    histogram = Histogram("h", help_text, ["a"], registry=registry)
    Summary("s", help_text, registry=registry).observe(value)
    Info("i", help_text, registry=registry).info({"a": "".join(labels)})
    Enum("e", help_text, states=["on", "off"], registry=registry).state("off")
    for label in labels:
        counter.labels(label, "x").inc()
        gauge.labels(label).set(value)
        histogram.labels(label).observe(value)
    assert exposition(registry) == generate_latest(registry)


def test_the_lean_import_and_the_whole_package_share_classes_and_registry() -> None:
    code = (
        "import sys; from bartizan.telemetry import lean_prometheus as lean; lean.add_process_metrics();"
        "assert 'prometheus_client' not in sys.modules;"
        "assert 'prometheus_client.exposition' not in sys.modules;"
        "import prometheus_client as whole;"
        "assert whole.REGISTRY is lean.REGISTRY and whole.Counter is lean.Counter;"
        "assert b'process_resident_memory_bytes' in whole.generate_latest()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
