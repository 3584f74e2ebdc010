"""prometheus_client without its HTTP servers, gateways and collectors of the interpreter: 5 MB of each process.

Its package imports them all; here its modules are taken one by one. Import it from here where a sidecar runs. Whoever
imports the whole package later gets the same classes and the same registry.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec, module_from_spec

_NAME = "prometheus_client"


@contextmanager
def _modules_alone() -> Iterator[None]:
    """Inside, a module of the package is imported without the package's own code."""
    spec = None if _NAME in sys.modules else find_spec(_NAME)
    if spec is None:
        yield
        return
    sys.modules[_NAME] = module_from_spec(spec)  # knows where its modules are, but was not executed
    try:
        yield
    finally:
        del sys.modules[_NAME]


with _modules_alone():
    from prometheus_client.metrics import Counter, Gauge, Histogram
    from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.parser import text_string_to_metric_families
    from prometheus_client.registry import REGISTRY, Collector, CollectorRegistry
    from prometheus_client.samples import Sample
    from prometheus_client.utils import floatToGoString


def add_process_metrics() -> None:
    """Put the library's figures of this process and its interpreter into REGISTRY."""
    with _modules_alone():
        for name in ("process", "platform", "gc"):
            import_module(f"{_NAME}.{name}_collector")


__all__ = [
    "REGISTRY",
    "Collector",
    "CollectorRegistry",
    "Counter",
    "CounterMetricFamily",
    "Gauge",
    "Histogram",
    "HistogramMetricFamily",
    "Metric",
    "Sample",
    "add_process_metrics",
    "floatToGoString",
    "text_string_to_metric_families",
]
