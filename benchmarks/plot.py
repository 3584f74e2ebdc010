"""The picture of a run as SVG, made by hand: three rows of bars. Pure: a report in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log
from typing import Any

_WIDTH, _LABEL, _BAR, _GAP, _TOP = 900, 230, 20, 8, 70
_COLOURS = {"envoy": "#8a8f98", "agent": "#c9a227", "python": "#2f6f9f", "upstream": "#d8dadd"}
Row = dict[str, Any]


def plot(report: dict[str, Any]) -> str:
    """Throughput as a ratio to the base row; CPU for one request by process; added latency."""
    rows = [row for row in report["rows"] if "rps" in row]
    machine = report["machine"]
    parts = [
        _text(20, 28, "Bartizan: one request through each path", size=18, weight="bold"),
        _text(
            20, 48, f"{report['made'][:10]} · {report['commit']} · {machine['cpu']}, {machine['cores']} cores"
        ),
    ]
    y = _TOP
    for title, draw in (
        ("Requests/s as a share of the base row (Envoy alone)", _ratios),
        ("CPU for one request, µs (log scale): Envoy, agent, Python", _cpu),
        ("Added at p50 and p99, ms (log scale), one connection", _latency),
    ):
        parts.append(_text(20, y + 16, title, size=14, weight="bold"))
        made, height = draw(rows, y + 28)
        parts += made
        y += height + 50
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}" viewBox="0 0 {_WIDTH} {y}" '
        f'font-family="system-ui, sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _ratios(rows: Sequence[Row], y: int) -> tuple[list[str], int]:
    shown = [row for row in rows if "ratio" in row]
    most = max([1.0, *(row["ratio"] for row in shown)])
    parts: list[str] = []
    for row in shown:
        width = _span() * row["ratio"] / most
        parts += _bar(
            y, row["path"], [(width, _COLOURS["python"])], f"{row['ratio']:.2f}  ({row['rps']:,.0f}/s)"
        )
        y += _BAR + _GAP
    return parts, len(shown) * (_BAR + _GAP)


def _cpu(rows: Sequence[Row], y: int) -> tuple[list[str], int]:
    """On a logarithmic scale the parts of a stack mean nothing: each process has a thin bar of its own."""
    roles = ("envoy", "agent", "python")
    most = max([1.0, *(row.get(f"{role}_cpu_us", 0.0) for row in rows for role in roles)])
    parts: list[str] = []
    begin = y
    for row in rows:
        here = [(role, row[f"{role}_cpu_us"]) for role in roles if row.get(f"{role}_cpu_us")]
        parts.append(_text(20, y + 15, row["path"]))
        for index, (role, value) in enumerate(here):
            parts.append(_rect(_LABEL, y + index * 7, _log(value, most), 6, _COLOURS[role]))
        said = " + ".join(f"{value:,.0f}" for _, value in here)
        parts.append(_text(_LABEL + _span() + 8, y + 15, said))
        y += _BAR + _GAP
    return parts, y - begin


def _latency(rows: Sequence[Row], y: int) -> tuple[list[str], int]:
    shown = [row for row in rows if row.get("added_p50_ms", 0) > 0 and row["path"] != row["base"]]
    most = max([0.01, *(row["added_p99_ms"] for row in shown)])
    parts: list[str] = []
    for row in shown:
        p50, p99 = row["added_p50_ms"], row["added_p99_ms"]
        parts += _bar(y, row["path"], [], f"{p50:.2f} / {p99:.2f}")
        parts.append(_rect(_LABEL, y, _log(p99, most, 0.01), _BAR / 2, _COLOURS["upstream"]))
        parts.append(_rect(_LABEL, y + _BAR / 2, _log(p50, most, 0.01), _BAR / 2, _COLOURS["python"]))
        y += _BAR + _GAP
    return parts, len(shown) * (_BAR + _GAP)


def _span() -> int:
    return _WIDTH - _LABEL - 170


def _log(value: float, most: float, least: float = 1.0) -> float:
    if value <= least or most <= least:
        return 1.0
    return _span() * log(value / least) / log(most / least)


def _bar(y: float, label: str, pieces: Sequence[tuple[float, str]], said: str) -> list[str]:
    parts = [_text(20, y + 15, label)]
    x = float(_LABEL)
    for width, colour in pieces:
        parts.append(_rect(x, y, width, _BAR, colour))
        x += width
    return [*parts, _text(_LABEL + _span() + 8, y + 15, said)]


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height:.1f}" fill="{colour}"/>'
    )


def _text(x: float, y: float, said: str, *, size: int = 12, weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}">{escape(said)}</text>'
