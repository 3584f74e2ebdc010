"""How results reach the terminal: a table for people, JSON for scripts. Same data, same order."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

import click
import msgspec

PIPE_WIDTH = 400
# What steers a terminal or turns a line around. Tabs and ends of lines do no harm in a cell.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """What others wrote (reasons of authors, of sidecars) may show itself, and do nothing else to who reads it."""
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], text)


class Output:
    """Prints to standard output in the format that the user chose."""

    def __init__(self, style: str) -> None:
        self.json = style == "json"

    def rows(
        self, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, data: Any, whole: int = 1
    ) -> None:
        """A table of `rows`, or `data` as JSON. The first `whole` columns are not folded: names that people copy."""
        if self.json:
            self.data(data)
            return
        if not rows:
            click.echo("nothing found", err=True)
            return
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, header_style="bold", pad_edge=False)
        for number, column in enumerate(columns):
            table.add_column(column, overflow="fold", no_wrap=number < whole)
        for row in rows:
            table.add_row(*map(_shown, row))
        # Into a pipe nothing is folded: ids stay whole for grep and awk.
        width = None if sys.stdout.isatty() else PIPE_WIDTH
        Console(markup=False, highlight=False, width=width).print(table)

    def data(self, data: Any) -> None:
        """JSON, indented."""
        click.echo(msgspec.json.format(msgspec.json.encode(data), indent=2).decode())

    def text(self, text: str, *, data: Any) -> None:
        """A sentence, or `data` as JSON."""
        if self.json:
            self.data(data)
        else:
            click.echo(printable(text))


def _shown(cell: object) -> str:
    """A cell as people read it."""
    match cell:
        case None:
            return ""
        case bool():
            return "yes" if cell else "no"
        case _:
            return printable(str(cell))
