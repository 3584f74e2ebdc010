"""Metrics as Prometheus reads them (text format 0.0.4), for the sidecar's /metrics; exactly what the library writes.

The library's own writer comes with HTTP servers and gateways, see lean_prometheus.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from bartizan.telemetry.lean_prometheus import Collector, Metric, Sample, floatToGoString

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_APART: Final = ("_created", "_gcount", "_gsum")
"""Samples that this format knows only as gauges of their own."""
_TYPES: Final = {"info": "gauge", "stateset": "gauge", "gaugehistogram": "histogram", "unknown": "untyped"}
_SUFFIXES: Final = {"counter": "_total", "info": "_info"}


def exposition(collector: Collector) -> bytes:
    """All families that the collector has now."""
    lines: list[str] = []
    for family in collector.collect():
        name = family.name + _SUFFIXES.get(family.type, "")
        lines += _head(name, _TYPES.get(family.type, family.type), family)
        apart: dict[str, list[str]] = {}
        for sample in family.samples:
            suffix = sample.name.removeprefix(family.name)
            (apart.setdefault(suffix, []) if suffix in _APART else lines).append(_line(sample))
        for suffix, found in sorted(apart.items()):
            lines += [*_head(family.name + suffix, "gauge", family), *found]
    return "".join(lines).encode()


def _head(name: str, kind: str, family: Metric) -> Iterable[str]:
    text = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {name} {text}\n", f"# TYPE {name} {kind}\n"


def _line(sample: Sample) -> str:
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(sample.labels.items()))
    braced = f"{{{labels}}}" if labels else ""
    value = floatToGoString(sample.value)  # type: ignore[no-untyped-call]
    return f"{sample.name}{braced} {value}\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
