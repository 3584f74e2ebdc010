"""Plays the demo's steps and writes what was seen: a terminal table and build/demo.json.

A step says what it expects, does it, and returns what it observed, taken from responses, the model's own log or the
store. Steps run in order and share one Scene.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bartizan.errors import BartizanError


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What a step saw. `text` goes into the table; details are shown above it, line by line."""

    ok: bool
    text: str
    trace_id: str = ""
    details: tuple[str, ...] = ()


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of build/demo.json."""

    step: str
    expected: str
    observed: str
    ok: bool
    ms: float
    trace_id: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """build/demo.json."""

    steps: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: its id, a sentence for the reader, what must be seen, and how to do it."""

    name: str
    story: str
    expected: str
    play: Callable[[], Awaitable[Observation]]


async def play(steps: list[Step], console: Console, report_file: Path) -> bool:
    """Play all steps, also after a failed one. Returns whether all were as expected."""
    rows: list[Row] = []
    for number, step in enumerate(steps, 1):
        console.print(f"\n[bold]{number}. {step.name}[/bold]  {step.story}")
        started = time.perf_counter()
        with console.status("playing"):
            seen = await _observe(step)
        took = (time.perf_counter() - started) * 1000
        for line in seen.details:
            console.print(f"   {line}", markup=False, highlight=False, style="dim", soft_wrap=True)
        mark = "[green]as expected[/green]" if seen.ok else "[red]NOT as expected[/red]"
        console.print(f"   {mark}: ", end="")
        console.print(seen.text, markup=False, highlight=False, soft_wrap=True)
        rows.append(
            Row(
                step=step.name,
                expected=step.expected,
                observed=seen.text,
                ok=seen.ok,
                ms=round(took, 1),
                trace_id=seen.trace_id,
            )
        )
    report_file.parent.mkdir(parents=True, exist_ok=True)
    report_file.write_bytes(msgspec.json.format(msgspec.json.encode(Report(steps=tuple(rows))), indent=2))
    console.print(_table(rows))
    return all(row.ok for row in rows)


async def _observe(step: Step) -> Observation:
    try:
        return await step.play()
    except (BartizanError, OSError, TimeoutError) as error:
        return Observation(ok=False, text=f"{type(error).__name__}: {error}")


def _table(rows: list[Row]) -> Table:
    table = Table(title="Bartizan demo", show_lines=False)
    for column in ("step", "expected", "observed", "ms", ""):
        table.add_column(column, justify="right" if column == "ms" else "left", overflow="fold")
    for row in rows:
        mark = "[green]ok[/green]" if row.ok else "[red]FAILED[/red]"
        table.add_row(row.step, row.expected, row.observed, f"{row.ms:.0f}", mark)
    return table
