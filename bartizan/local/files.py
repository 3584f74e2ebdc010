"""Files that people name on the command line: read before anything is asked of a server, refused with path and reason."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from bartizan.errors import InvalidInput, Problem


def read_text(file: Path | str, what: str) -> str:
    """A file's text, or standard input for "-". Raises InvalidInput ("<what> can't be read")."""
    try:
        return sys.stdin.read() if str(file) == "-" else Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise unusable(file, f"{what} can't be read", f"not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise unusable(file, f"{what} can't be read", error.strerror) from None


def read_yaml(file: Path, what: str) -> dict[str, Any]:
    """The fields of the one document in a YAML file. Raises InvalidInput with line and column."""
    try:
        fields = yaml.safe_load(read_text(file, what))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        raise unusable(file, f"{what} is not YAML", f"{place}{error.problem}") from None
    except yaml.YAMLError as error:
        raise unusable(file, f"{what} is not YAML", " ".join(str(error).split())) from None
    if not isinstance(fields, dict):
        raise unusable(file, f"{what} can't be used", "expected fields (name: value)")
    return fields


def unusable(file: Path | str, summary: str, why: str | None) -> InvalidInput:
    """The error that names the file."""
    return InvalidInput(summary, [Problem(path=str(file), code="unusable", message=why or "unknown reason")])
