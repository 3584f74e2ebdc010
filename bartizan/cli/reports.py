"""Where results of a scan go: lines to standard output as they come, reports to files, a progress bar to the terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bartizan.cli.output import Output
from bartizan.errors import InvalidInput
from sidecar.scan import html, records
from sidecar.scan.judge import Verdict

SUFFIXES = (".html", ".json", ".csv")
_REFRESH_SECONDS = 0.2
_STDOUT = "standard output"


class Sink:
    """Writes what a scan finds while it runs. Only one of jsonl and csv goes to standard output."""

    def __init__(self, style: str, reports: tuple[Path, ...]) -> None:
        if unknown := [str(report) for report in reports if report.suffix not in SUFFIXES]:
            raise InvalidInput(f"{', '.join(unknown)}: a report ends with {', '.join(SUFFIXES)}")
        self._json = style == "jsonl"
        self._tables: dict[str, IO[str]] = {_STDOUT: sys.stdout} if style == "csv" else {}
        self._reports = reports
        self._opened: dict[str, IO[str]] = {}
        self._new: list[Path] = []
        """Reports of the end that were not there before."""

    def __enter__(self) -> Self:
        try:
            for report in self._reports:
                self._open(report)
        except OSError as error:
            self._close()
            raise InvalidInput(f"{error.filename} can't be written: {error.strerror}") from error
        for name, table in self._tables.items():
            with _naming(name):
                table.write(records.csv_header())
        return self

    def _open(self, report: Path) -> None:
        """Those of the end, too: nobody waits for a scan whose report has no place."""
        table, there = report.suffix == ".csv", report.exists()
        opened = report.open("w" if table else "a", encoding="utf-8", newline="")
        self._opened[str(report)] = opened
        if table:
            self._tables[str(report)] = opened
        elif not there:
            self._new.append(report)

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if fault is None:
            self.flush()
            self._close()
            return
        with contextlib.suppress(OSError):  # most likely what ended the scan, once more
            self.flush()
        self._close()

    def flush(self) -> None:
        """Raises OSError that names what can't be written."""
        for name, opened in (*self._opened.items(), (_STDOUT, sys.stdout)):
            with _naming(name):
                opened.flush()

    def _close(self) -> None:
        for opened in self._opened.values():
            with contextlib.suppress(OSError):  # flushed before
                opened.close()
        for report in self._new:  # an empty file would pass for a report
            if report.is_file() and not report.stat().st_size:
                report.unlink()

    def verdict(self, index: int, source: str, verdict: Verdict) -> None:
        if self._json:
            with _naming(_STDOUT):
                sys.stdout.buffer.write(records.json_line(index, verdict))
        if self._tables:
            self._rows(records.csv_lines(index, source, verdict))

    def fault(self, index: int, fault: str) -> None:
        if self._json:
            with _naming(_STDOUT):
                sys.stdout.buffer.write(records.json_fault(index, fault))
        if self._tables:
            self._rows(records.csv_fault(index, fault))

    def _rows(self, rows: str) -> None:
        for name, table in self._tables.items():
            with _naming(name):
                table.write(rows)


class _naming:  # noqa: N801 - reads as a word of the statement; a generator would cost each line of a scan ten times as much
    """A stream's own errors don't say which file they are about."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(fault, OSError) and fault.filename is None:
            fault.filename = self._name


def progress(
    lines: Iterable[bytes], size: int, hits: Callable[[], int], stopped: Callable[[], bool] = lambda: False
) -> Iterator[bytes]:
    """The lines, with a bar on standard error if that is a terminal. `size` in bytes, 0 if it is not known."""
    if not sys.stderr.isatty():
        yield from lines
        return
    columns = (
        TextColumn("{task.completed} of {task.total} bytes" if size else "{task.completed} bytes"),
        BarColumn(),
        TextColumn("{task.fields[lines]} lines, {task.fields[rate]:.0f}/s, {task.fields[hits]} hit"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=size or None, lines=0, rate=0.0, hits=0)
        started = shown = time.monotonic()
        count = done = 0

        def show(completed: int) -> None:
            rate = count / max(time.monotonic() - started, 0.001)
            bar.update(task, completed=completed, lines=count, rate=rate, hits=hits())

        for line in lines:
            yield line
            count += 1
            done += len(line) + 1
            if time.monotonic() - shown > _REFRESH_SECONDS:
                shown = time.monotonic()
                show(done)
        show(done if stopped() else size or done)  # ends of lines may have two bytes


def write_summary(
    output: Output, style: str, reports: tuple[Path, ...], summary: dict[str, Any], *, title: str, policy: str
) -> None:
    """The end of a scan: reports, and the summary on standard output unless lines went there."""
    for report in reports:
        with _naming(str(report)):
            if report.suffix == ".html":
                report.write_text(html.page(summary, title=title, policy=policy), encoding="utf-8")
            elif report.suffix == ".json":
                data = {"title": title, "policy": policy, **summary}
                report.write_bytes(msgspec.json.format(msgspec.json.encode(data), indent=2) + b"\n")
    if style == "json":
        output.data({"title": title, "policy": policy, **summary})
    elif style == "table":
        _tables(output, summary)


def _tables(output: Output, summary: dict[str, Any]) -> None:
    actions = [(name, count) for name, count in summary["actions"].items()]
    output.rows(("action", "lines"), [*actions, ("all", summary["lines"])], data=None)
    if summary["kinds"]:
        output.rows(("kind", "lines"), list(summary["kinds"].items()), data=None)
    if summary["sources"]:
        rows = [(one["source"], one["lines"], one["hits"]) for one in summary["sources"][:10]]
        output.rows(("source", "lines", "hits"), rows, data=None)
    if summary["clusters"]:
        groups = [
            (one["size"], one["first_line"], ", ".join(one["kinds"]), one.get("excerpt", ""))
            for one in summary["clusters"][:10]
        ]
        output.rows(("alike", "first line", "kinds", ""), groups, data=None)
