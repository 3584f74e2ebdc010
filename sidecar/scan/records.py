"""How a scan writes: one JSON line or several CSV rows for each line of the input."""

from __future__ import annotations

import csv
import io
from typing import Any, Final

import msgspec

from sidecar.scan.judge import GROUPS, Hit, Verdict

COLUMNS: Final = (
    "index",
    "source",
    "action",
    "score",
    "detector",
    "kind",
    "location",
    "start",
    "end",
    "finding_score",
    "rule",
    "error",
)
_NAMES: Final = {check: name for name, check in GROUPS.items()}


def detector_name(check: str) -> str:
    """As `--select` spells it; other checks keep their own name."""
    return _NAMES.get(check, check)


def json_line(index: int, verdict: Verdict) -> bytes:
    """The line of a text that was judged."""
    return (
        msgspec.json.encode(
            {
                "index": index,
                "action": verdict.action.name.lower(),
                "score": verdict.score,
                "findings": [_finding(hit) for hit in verdict.hits],
            }
        )
        + b"\n"
    )


def json_fault(index: int, fault: str) -> bytes:
    """The line of input that can't be read: a request like it would be refused."""
    return (
        msgspec.json.encode({"index": index, "action": "deny", "score": 0.0, "findings": [], "error": fault})
        + b"\n"
    )


def csv_header() -> str:
    return _csv([COLUMNS])


def csv_lines(index: int, source: str, verdict: Verdict) -> str:
    """A row for each finding, or one row if there is none."""
    action = verdict.action.name.lower()
    return _csv(
        [
            (
                index,
                source,
                action,
                verdict.score,
                detector_name(hit.detector),
                hit.kind,
                hit.location,
                hit.start,
                hit.end,
                hit.score,
                hit.rule,
                "",
            )
            for hit in verdict.hits
        ]
        or [(index, source, action, verdict.score, *[""] * 8)]
    )


def csv_fault(index: int, fault: str) -> str:
    return _csv([(index, "", "deny", 0.0, *[""] * 7, fault)])


def _finding(hit: Hit) -> dict[str, Any]:
    made: dict[str, Any] = {
        "detector": detector_name(hit.detector),
        "kind": hit.kind,
        "start": hit.start,
        "end": hit.end,
        "score": hit.score,
        "rule": hit.rule,
    }
    if hit.location:
        made["location"] = hit.location
    return made


def _csv(rows: list[Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([_inert(cell) for cell in row] for row in rows)
    return out.getvalue()


def _inert(cell: Any) -> Any:
    """Spreadsheets run cells that begin like a formula (CWE-1236)."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in {"=", "+", "-", "@", "\t", "\r"} else cell
