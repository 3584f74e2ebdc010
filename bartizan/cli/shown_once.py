"""What the control plane shows only once (keys, tokens): into a file or onto the terminal, and never lost in silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bartizan.cli.output import Output
from bartizan.errors import BartizanError
from bartizan.local.private_file import private_file

OUT = click.option(
    "--out", type=click.Path(path_type=Path), help="Write it to this file (0600), don't print it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One secret as it was made. name: "key 0a1b"; about: the same as JSON; data: all of it as JSON, the secret, too.

    undo: what to do when it is lost.
    """

    name: str
    about: Mapping[str, str]
    secret: str
    data: Any
    undo: str


def show_once(output: Output, out: Path | None, make: Callable[[], Shown]) -> None:
    """The file is opened before anything is made. Raises BartizanError when it was made and can't be written."""
    made: Shown | None = None
    try:
        with private_file(out) if out is not None else nullcontext() as file:
            made = make()
            if file is not None:
                file.write(made.secret)
        if out is None:
            output.text(made.secret, data=made.data)
    except OSError as error:
        if made is None:
            raise
        raise BartizanError(
            f"{made.name} was made, but {out or 'standard output'} can't be written: {error.strerror}\n"
            f"  It is valid, and nobody has it: {made.undo}"
        ) from None
    if out is not None:
        output.text(f"{made.name} written to {out}", data={**made.about, "file": str(out)})
