"""The summary of a scan as one HTML page: no script, no request to anywhere, plots as inline SVG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;color:#1b1f24;background:#fff}"
    "h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}"
    "td,th{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #d8dee4;vertical-align:top}"
    "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}svg{width:100%;height:auto}"
    ".hit{fill:#b4232a}.pass{fill:#8aa4c0}.axis{fill:#57606a;font-size:11px}p.note{color:#57606a}"
    "@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}td,th{border-color:#30363d}.axis{fill:#9198a1}}"
)
_WIDTH, _HEIGHT, _BASE = 960, 180, 150


def page(summary: dict[str, Any], *, title: str, policy: str) -> str:
    """One self-contained document. Everything from the input is escaped."""
    slices = summary["timeline"]["slices"]
    per_slice = summary["timeline"]["lines_per_slice"]
    body = [
        f"<h1>{escape(title)}</h1>",
        (
            f"<p>{summary['lines']:,} lines, {summary['hits']:,} hit ({_share(summary['hits'], summary['lines'])}), "
            f"{summary['unreadable']:,} unreadable. Judged by {escape(policy)}.</p>"
        ),
        *(
            ()
            if summary["complete"]
            else ("<p>Stopped early: what comes behind these lines was not judged.</p>",)
        ),
        "<h2>Actions</h2>",
        _table(("action", "lines"), summary["actions"].items()),
        *_scores(summary["scores"]),
        "<h2>Hits along the input</h2>",
        _bars(
            [(one["lines"] - one["hits"], one["hits"]) for one in slices],
            [f"{at * per_slice:,}" for at in range(len(slices))],
        ),
        f'<p class="note">{per_slice:,} lines per bar.</p>',
        "<h2>Kinds</h2>",
        _table(("kind", "lines"), summary["kinds"].items()),
        "<h2>Top sources</h2>",
        _table(
            ("source", "lines", "hits", "kinds"),
            [(one["source"], one["lines"], one["hits"], _kinds(one["kinds"])) for one in summary["sources"]],
        )
        if summary["sources"]
        else '<p class="note">No line names its source.</p>',
        "<h2>Similar attacks</h2>",
        _table(
            ("lines", "first line", "sources", "kinds", "excerpt"),
            [
                (one["size"], one["first_line"], one["sources"], _kinds(one["kinds"]), one.get("excerpt", ""))
                for one in summary["clusters"]
            ],
        ),
        (
            f'<p class="note">{summary["clusters_in_all"]:,} groups by '
            f"{'common pairs of words' if summary['scores'] else 'kinds of findings'}; "
            f"{summary['not_clustered']:,} more lines after the last group was full.</p>"
        ),
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><body>{''.join(body)}</body></html>\n"
    )


def _scores(scores: Sequence[dict[str, Any]]) -> Sequence[str]:
    """Nothing where no line has a score: the audit keeps none."""
    if not scores:
        return ()
    return (
        "<h2>Scores</h2>",
        _bars([(one["passed"], one["hit"]) for one in scores], [f"{one['from']:.2f}" for one in scores]),
        '<p class="note">Highest score per line, lines on a root scale; red: hit.</p>',
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    lines = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{lines}</table>"


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f'<td class="n">{value:,}</td>'
    return f"<td>{escape(str(value))}</td>"


def _bars(pairs: Sequence[tuple[int, int]], labels: Sequence[str]) -> str:
    """Stacked bars, height by the square root, so that a single hit among thousands is seen."""
    if not pairs:
        return '<p class="note">No lines.</p>'
    top = max(sum(pair) for pair in pairs) or 1
    wide = _WIDTH / len(pairs)
    out = []
    for at, (passed, hit) in enumerate(pairs):
        whole = (passed + hit) / top
        height = whole**0.5 * (_BASE - 10)
        red = height * (hit / (passed + hit)) if passed + hit else 0.0
        red = max(red, 2.0) if hit else red
        x, label = at * wide, f"{labels[at]}: {passed:,} passed, {hit:,} hit"
        out.append(
            f"<g><title>{escape(label)}</title>"
            f'<rect class="pass" x="{x:.1f}" y="{_BASE - height:.1f}" width="{wide * 0.85:.1f}" height="{max(0.0, height - red):.1f}"/>'
            f'<rect class="hit" x="{x:.1f}" y="{_BASE - red:.1f}" width="{wide * 0.85:.1f}" height="{red:.1f}"/></g>'
        )
        if at % max(1, len(pairs) // 10) == 0:
            out.append(f'<text class="axis" x="{x:.1f}" y="{_HEIGHT - 12}">{escape(labels[at])}</text>')
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(out)}</svg>'


def _kinds(kinds: dict[str, int]) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, count in kinds.items())


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"
