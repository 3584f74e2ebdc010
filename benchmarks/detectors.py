"""Processor time of each content check on one core: python -m benchmarks.detectors. Prints a table for docs/detectors.md.

Texts are our own composed sentences, joined to the length wanted, half of them with an attack in the middle.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import get_args

from bartizan.policy.checks import Pii, PiiType, PromptInjection, Sanitize, Secrets
from sidecar.checks.base import TextCheck
from sidecar.checks.detectors import pii, prompt_injection, secrets
from sidecar.checks.detectors.injection_model.training import compose, judged
from sidecar.checks.sanitizers import unicode
from sidecar.formats.base import TextPart

SIZES = {
    "40 characters": (40, 400),
    "1,000 characters": (1_000, 300),
    "16 KB": (16_000, 40),
    "220 KB": (220_000, 12),
}


def checks() -> dict[str, TextCheck]:
    return {
        "sanitize": unicode.build(Sanitize()),
        "promptInjection, rules": prompt_injection.build(PromptInjection(model="off")),
        "promptInjection": prompt_injection.build(PromptInjection()),
        "secrets": secrets.build(Secrets()),
        "pii, default types": pii.build(Pii()),
        "pii, all types": pii.build(Pii(types=get_args(PiiType))),
    }


def texts(length: int, count: int) -> list[str]:
    sentences = compose.benign(4_000, 1)
    out = []
    for number in range(count):
        parts: list[str] = []
        at = number * 37
        while sum(map(len, parts)) + len(parts) < length:
            parts.append(sentences[at % len(sentences)])
            at += 1
        if number % 2:
            parts.insert(len(parts) // 2, judged.ATTACKS[number % len(judged.ATTACKS)])
        out.append(" ".join(parts)[:length])
    return out


def measured(act: Callable[[TextPart], object], parts: list[TextPart]) -> tuple[float, float]:
    """p50 and p95 in milliseconds of processor time."""
    for part in parts[:5]:
        act(part)
    times = []
    for part in parts:
        began = time.process_time_ns()
        act(part)
        times.append((time.process_time_ns() - began) / 1e6)
    cuts = statistics.quantiles(times, n=20, method="inclusive")
    return cuts[9], cuts[18]


def main() -> None:
    sys.stdout.write(
        f"| check | {' | '.join(f'{size}: p50 | p95' for size in SIZES)} |\n|{'---|' * (1 + 2 * len(SIZES))}\n"
    )
    for name, check in checks().items():
        cells = []
        for length, count in SIZES.values():
            parts = [TextPart(location="x", text=text, role="user") for text in texts(length, count)]
            cells += [f"{milliseconds:.2f}" for milliseconds in measured(check.inspect, parts)]
        sys.stdout.write(f"| {name} | {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main()
