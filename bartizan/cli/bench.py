"""`bartizan policy bench`: how much a policy's checks detect and how much harmless text they hit, on prompts of yours."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from bartizan.cli.connection import Connection, pass_connection
from bartizan.cli.scan import SELECTION, texts
from bartizan.errors import InvalidInput

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILES = ("*.jsonl", "*.txt")


@click.command("bench")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--attacks", type=FOLDER, required=True, help="Folder of .jsonl or .txt files, one per source.")
@click.option("--benign", type=FOLDER, required=True, help="The same, of texts that should pass.")
@click.option("--select", type=SELECTION, help="Only these detectors. Default: all of the policy.")
@pass_connection
def bench(
    connection: Connection, file: Path | None, attacks: Path, benign: Path, select: frozenset[str] | None
) -> None:
    """Detection rate, false positives (95 % confidence) and latency of a policy FILE; default: the checks' defaults."""
    from bartizan.policy import defaults
    from bartizan.policy.validate import parse_policy
    from sidecar.scan.bench import RequestPath
    from sidecar.scan.judge import GROUPS

    checks = defaults.CHECKS if file is None else parse_policy(file.read_bytes()).spec.input
    if select is not None:
        wanted = {GROUPS[name] for name in select | {"sanitize"}}
        checks = tuple(item for item in checks if item.__struct_config__.tag in wanted)
    if not checks:
        raise InvalidInput("the policy has none of these checks in spec.input")
    way = RequestPath(checks)
    data: dict[str, Any] = {}
    rows: list[tuple[Any, ...]] = []
    for name, folder in (("attacks", attacks), ("benign", benign)):
        data[name] = _folder(way, folder)
        rows += [_row(name, one) for one in data[name]["sources"]]
        rows.append(_row(name, {"source": "all", **data[name]["all"]}))
        rows.append((name, "mean of sources", "", "", f"{data[name]['mean_share']:.1%}", "", "", ""))
    columns = ("label", "source", "rows", "hit", "share", "95 % confidence", "p50 ms", "p99 ms")
    connection.output.rows(columns, rows, data=data)


def _folder(way: Any, folder: Path) -> dict[str, Any]:
    from sidecar.model.finding import Action
    from sidecar.scan.bench import Latency, rate

    files = sorted(file for pattern in FILES for file in folder.glob(pattern))
    if not files:
        raise InvalidInput(f"{folder} holds no {' or '.join(FILES)}")
    every, total = Latency(), [0, 0]
    sources = []
    for file in files:
        latency, hits, count = Latency(), 0, 0
        for text in texts(file):
            began = time.perf_counter()
            hit = way.action(text) is not Action.ALLOW
            seconds = time.perf_counter() - began
            latency.add(seconds)
            every.add(seconds)
            hits += hit
            count += 1
        total = [total[0] + hits, total[1] + count]
        sources.append({"source": file.stem, **_figures(rate(hits, count), latency)})
    shares = [source["share"] for source in sources if source["rows"]]
    return {
        "sources": sources,
        "all": _figures(rate(*total), every),
        "mean_share": sum(shares) / len(shares) if shares else 0.0,
    }


def _figures(found: Any, latency: Any) -> dict[str, Any]:
    return {
        "rows": found.rows,
        "hits": found.hits,
        "share": round(found.share, 6),
        "low": round(found.low, 6),
        "high": round(found.high, 6),
        "p50_ms": round(1000 * latency.quantile(0.5), 3),
        "p99_ms": round(1000 * latency.quantile(0.99), 3),
    }


def _row(label: str, one: dict[str, Any]) -> tuple[Any, ...]:
    between = f"{one['low']:.1%} to {one['high']:.1%}" if one["rows"] else ""
    return (
        label,
        one["source"],
        one["rows"],
        one["hits"],
        f"{one['share']:.1%}",
        between,
        f"{one['p50_ms']:.2f}",
        f"{one['p99_ms']:.2f}",
    )
