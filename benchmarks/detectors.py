"""Figures of the content checks: python -m benchmarks.detectors. Prints tables for docs/detectors.md and benchmarks/README.md.

Without options: hard negatives and attacks of our own by the injection detector as it ships, and processor time of each
check on one core. With --data DIR (prompts.jsonl; two minutes of processor) recall and false positives of every source,
each judged by a model that saw neither it nor its kin. --only says which of the three.

Texts whose time is taken are our own composed sentences, joined to the length wanted, half of them with an attack in
the middle.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from bartizan.policy.checks import Pii, PiiType, PromptInjection, Sanitize, Secrets
from sidecar.checks.base import TextCheck
from sidecar.checks.detectors import pii, prompt_injection, secrets
from sidecar.checks.detectors.injection_model.training import compose, judged, report
from sidecar.checks.sanitizers import unicode
from sidecar.formats.base import TextPart
from sidecar.model.finding import Action
from sidecar.scan.bench import rate

SIZES = {
    "40 characters": (40, 400),
    "1,000 characters": (1_000, 300),
    "16 KB": (16_000, 40),
    "220 KB": (220_000, 12),
}
ATTACKS = ("attacks", "turns")
"""Of the sentences that no training saw; the others are harmless."""
FEWEST = 20
"""Rows of a source that counts in a mean."""
DOCUMENTS = "repo_docs_"
WRAPPED = "neuralchemy_wildguard_judgecomp"
"""Harmless requests, many of them wrapped into a jailbreak: in no mean."""


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


def latency() -> Iterable[str]:
    """Rows of a table: a check, then p50 and p95 of each length."""
    yield f"| processor time in ms, one core | {' | '.join(f'{size}: p50, p95' for size in SIZES)} |"
    yield "|---" * (1 + len(SIZES)) + "|"
    made = {
        size: [TextPart(location="x", text=text, role="user") for text in texts(length, count)]
        for size, (length, count) in SIZES.items()
    }
    for name, check in checks().items():
        cells = [
            ", ".join(f"{milliseconds:.2f}" for milliseconds in measured(check.inspect, parts))
            for parts in made.values()
        ]
        yield f"| {name} | {' | '.join(cells)} |"
    yield f"\nLoad of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores."


def own() -> Iterable[str]:
    """What the shipped detector makes of our own sentences, with the bounds of 95 % confidence."""
    detector = prompt_injection.build(PromptInjection())
    yield "| own sentences, by the detector that ships | rows | hit | share | 95 % confidence | denied |"
    yield "|---|---|---|---|---|---|"
    for kind, sentences in report.OWN.items():
        actions = [_strongest(detector, text) for text in sentences]
        hit = rate(sum(action > Action.ALLOW for action in actions), len(actions))
        name = f"{kind} ({'attacks' if kind in ATTACKS else 'harmless'})"
        bounds = f"{hit.low:.1%} to {hit.high:.1%}"
        denied = sum(action is Action.DENY for action in actions)
        yield f"| {name} | {hit.rows} | {hit.hits} | {hit.share:.1%} | {bounds} | {denied} |"


def _strongest(detector: TextCheck, text: str) -> Action:
    found = detector.inspect(TextPart(location="x", text=text, role="user")).findings
    return max((finding.action for finding in found), default=Action.ALLOW)


def sources(data: Path) -> Iterable[str]:
    """Leave each group of sources out, in a training of its own; nothing of it is kept."""
    from sidecar.checks.detectors.injection_model.training.__main__ import train

    with tempfile.TemporaryDirectory() as folder:
        train(data, Path(folder))
        figures = json.loads((Path(folder) / "report.json").read_bytes())
    yield from left_out(figures)


def left_out(figures: Mapping[str, Any]) -> Iterable[str]:
    """The training's report as a table for each label, and means in which every source counts the same."""
    denied = {(row["source"], row["label"]): row["detector"] for row in figures["block"]["sources"]}
    for label, name in ((1, "attacks"), (0, "benign")):
        rows = [
            (
                row["source"],
                row["rows"],
                row["rules"],
                row["model"],
                row["detector"],
                denied[row["source"], label],
            )
            for row in figures["flag"]["sources"]
            if row["label"] == label
        ]
        if not rows:
            continue
        yield f"| source ({name}) | rows | rules | model, flag | detector, flag | detector, block |"
        yield "|---|---|---|---|---|---|"
        yield from (_row(source, count, shares) for source, count, *shares in rows)
        enough: list[tuple[str, Sequence[float]]] = [
            (row[0], row[2:]) for row in rows if row[1] >= FEWEST and row[0] != WRAPPED
        ]
        documents = [shares for source, shares in enough if source.startswith(DOCUMENTS)]
        counted = [shares for source, shares in enough if not source.startswith(DOCUMENTS)]
        if documents:
            yield _row(f"mean of {len(documents)} projects' documents", "", _means(documents))
            counted.append(_means(documents))
        if counted:
            yield _row(f"mean of {len(counted)} sources", "", _means(counted))
        yield ""


def _means(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(map(statistics.fmean, zip(*rows, strict=True)))


def _row(name: str, count: object, shares: Sequence[float]) -> str:
    return f"| {name} | {count} | {' | '.join(f'{100 * share:.1f}' for share in shares)} |"


def main(arguments: Sequence[str]) -> None:
    """Print a table for each thing measured."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.detectors", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument(
        "--data", type=Path, help="folder with prompts.jsonl: leave its sources out one by one"
    )
    parser.add_argument("--only", choices=("own", "sources", "latency"))
    chosen = parser.parse_args(arguments)
    if chosen.only == "sources" and chosen.data is None:
        parser.error("--only sources wants --data DIR")
    if chosen.data is not None and not (chosen.data / "prompts.jsonl").is_file():
        parser.error(f"{chosen.data} holds no prompts.jsonl")
    parts: dict[str, Callable[[], Iterable[str]]] = {"own": own, "latency": latency}
    if chosen.data is not None:
        parts["sources"] = lambda: sources(chosen.data)
    for name, part in parts.items():
        if chosen.only in (None, name):
            for line in (*part(), ""):
                sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
