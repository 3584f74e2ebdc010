"""Figures of the model of names that ships: python -m benchmarks.names PII.jsonl [HARMLESS.jsonl]. For benchmarks/README.md.

PII.jsonl: lines with `text` and `spans` (`type`, `start`, `end`), as presidio-research makes them; PERSON counts.
HARMLESS.jsonl: lines with `text` and `source`, of which a sample of each source is read. Without files: processor time.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.detectors import texts
from sidecar.checks.classifier.runtime import OnnxModel
from sidecar.checks.names import shipped
from sidecar.checks.names.child import NameModel
from sidecar.checks.segments import segments

THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
SIZES = {"40 characters": (40, 60), "1,000 characters": (1_000, 40), "16 KB": (16_000, 3)}
SAMPLE = 100
Span = tuple[int, int]


def model(threshold: float = THRESHOLDS[0]) -> NameModel:
    """The shipped model in this process, as its child has it."""
    folder = shipped.folder()
    if folder is None:
        raise SystemExit("pip install 'bartizan[names]'")
    graph = OnnxModel(
        model=(folder / shipped.MODEL).read_bytes(),
        tokenizer=(folder / shipped.TOKENIZER).read_bytes(),
        max_tokens=shipped.MAX_TOKENS,
    )
    return NameModel(graph, shipped.LABELS, threshold)


def people(tested: NameModel, text: str) -> list[Span]:
    return [
        (begin + name.start, begin + name.end)
        for begin, end in segments(text)
        for name in tested.names(text[begin:end])
        if name.kind == "person"
    ]


def lines(file: str) -> Iterator[dict[str, Any]]:
    with Path(file).open(encoding="utf-8") as source:
        yield from map(json.loads, source)


def detection(tested: NameModel, rows: Iterable[dict[str, Any]]) -> str:
    """Names found whole and at least in part, and the share of finds that touch a labelled name."""
    whole = touched = named = right = 0
    wrong: Counter[str] = Counter()
    for row in rows:
        found, text = people(tested, row["text"]), row["text"]
        spans = [(one["type"], one["start"], one["end"]) for one in row["spans"]]
        for start, end in ((start, end) for kind, start, end in spans if kind == "PERSON"):
            letters = [at for at in range(start, end) if text[at].isalnum()]
            seen = sum(any(first <= at < last for first, last in found) for at in letters)
            named, whole, touched = named + 1, whole + (seen == len(letters)), touched + (seen > 0)
        for first, last in found:
            under = {kind for kind, start, end in spans if first < end and start < last}
            right += "PERSON" in under
            if "PERSON" not in under:
                wrong[min(under, default="nothing")] += 1
    finds = right + wrong.total()
    return (
        f"{whole / named:.1%} whole, {touched / named:.1%} in part of {named}; "
        f"{right / finds:.1%} of {finds} finds right; wrong: {dict(wrong.most_common(5))}"
    )


def harmless(tested: NameModel, rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    by_source: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        if not row.get("label"):
            by_source[row["source"]].append(row["text"])
    for source, every in sorted(by_source.items()):
        if len(every) >= SAMPLE:
            chosen = random.Random(1).sample(every, SAMPLE)
            hit = sum(bool(people(tested, text)) for text in chosen)
            length = statistics.mean(map(len, chosen))
            yield f"{source}: {hit} of {SAMPLE} texts of {length:.0f} characters"


def milliseconds(tested: NameModel, length: int, count: int) -> str:
    times = []
    for text in texts(length, count):
        began = time.process_time_ns()
        people(tested, text)
        times.append((time.process_time_ns() - began) / 1e6)
    cuts = statistics.quantiles(times, n=20, method="inclusive")
    return f"p50 {cuts[9]:.1f} ms, p95 {cuts[18]:.1f} ms"


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.names", description=__doc__)
    parser.add_argument("people", nargs="?", type=_file, metavar="PII.jsonl")
    parser.add_argument("harmless", nargs="?", type=_file, metavar="HARMLESS.jsonl")
    chosen = parser.parse_args(arguments)
    out = sys.stdout.write
    for size, (length, count) in SIZES.items():
        out(f"{size}: {milliseconds(model(0.5), length, count)}\n")
    if chosen.people:
        for threshold in THRESHOLDS:
            out(f"from {threshold}: {detection(model(threshold), lines(chosen.people))}\n")
    if chosen.harmless:
        for line in harmless(model(0.5), lines(chosen.harmless)):
            out(line + "\n")


def _file(name: str) -> str:
    """Asked before minutes of measuring."""
    if not Path(name).is_file():
        raise argparse.ArgumentTypeError(f"no file {name}")
    return name


if __name__ == "__main__":
    main(sys.argv[1:])
