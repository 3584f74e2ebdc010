"""`bartizan policy bench`: how much a policy's checks detect and how much harmless text they hit, on prompts of yours."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bartizan.cli.connection import Connection, pass_connection
from bartizan.cli.scan import BODIES, SELECTION, judging
from bartizan.errors import InvalidInput

if TYPE_CHECKING:
    from sidecar.formats.base import Document
    from sidecar.scan.bench import RequestPath, Tally
    from sidecar.scan.lines import Reader

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILES = ("*.jsonl", "*.txt")
_TEXT = "text"
_WANTED = 'wanted {"text": …} or a request\'s body (--protocol)'


@click.command("bench")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--attacks", type=FOLDER, required=True, help="Folder of .jsonl or .txt files, one per source.")
@click.option("--benign", type=FOLDER, required=True, help="The same, of texts that should pass.")
@click.option("--select", type=SELECTION, help="Only these detectors. Default: all of the policy.")
@click.option(
    "--protocol",
    type=click.Choice(BODIES),
    default="openai",
    show_default=True,
    help="Of lines that are request bodies, where no FILE says it.",
)
@pass_connection
def bench(
    connection: Connection,
    file: Path | None,
    attacks: Path,
    benign: Path,
    select: frozenset[str] | None,
    protocol: str,
) -> None:
    """Detection rate, false positives (95 % confidence) and latency of a policy FILE; default: the checks' defaults."""
    from sidecar.formats.catalog import build_format
    from sidecar.scan.bench import RequestPath
    from sidecar.scan.judge import GROUPS
    from sidecar.scan.lines import Reader

    checks, plan, _ = judging(file, protocol)
    if select is not None:
        wanted = {GROUPS[name] for name in select | {"sanitize"}}
        checks = tuple(item for item in checks if item.__struct_config__.tag in wanted)
    if not checks:
        raise InvalidInput("the policy has none of these checks in spec.input")
    route = plan.routes[0].path if plan.routes else ""
    bodies = build_format(plan)
    way, reader = RequestPath(checks, bodies, route), Reader(bodies, route)
    data: dict[str, Any] = {}
    rows: list[tuple[Any, ...]] = []
    for name, folder in (("attacks", attacks), ("benign", benign)):
        data[name] = _folder(way, reader, plan.model.protocol, folder)
        rows += [_row(name, one) for one in data[name]["sources"]]
        if len(data[name]["formats"]) > 1:
            rows += [
                _row(name, {"source": f"all in format {one['format']}", **one})
                for one in data[name]["formats"]
            ]
        rows.append(_row(name, {"source": "all", **data[name]["all"]}))
        rows.append((name, "mean of sources", "", "", f"{data[name]['mean_share']:.1%}", "", "", ""))
    columns = ("label", "source", "rows", "hit", "share", "95 % confidence", "p50 ms", "p99 ms")
    connection.output.rows(columns, rows, data=data)


def _folder(way: RequestPath, reader: Reader, protocol: str, folder: Path) -> dict[str, Any]:
    from sidecar.scan.bench import Tally

    files = sorted(file for pattern in FILES for file in folder.glob(pattern))
    if not files:
        raise InvalidInput(f"{folder} holds no {' or '.join(FILES)}")
    every, sources = Tally(), []
    formats: dict[str, Tally] = {}
    for file in files:
        own = Tally()
        for text, body in _prompts(reader, file):
            began = time.perf_counter()
            hit = way.hits_body(body) if text is None else way.hits(text)
            seconds = time.perf_counter() - began
            for tally in (own, every, formats.setdefault(_TEXT if text is not None else protocol, Tally())):
                tally.add(seconds, hit=hit)
        sources.append({"source": file.stem, **_figures(own)})
    shares = [source["share"] for source in sources if source["rows"]]
    return {
        "sources": sources,
        "formats": [{"format": name, **_figures(tally)} for name, tally in sorted(formats.items())],
        "all": _figures(every),
        "mean_share": sum(shares) / len(shares) if shares else 0.0,
    }


def _prompts(reader: Reader, path: Path) -> Iterator[tuple[str | None, bytes]]:
    """A prompt's text, or None and its body. A .txt has a prompt a line. Raises InvalidInput: a figure without some of the
    lines would be one of other prompts.
    """
    from sidecar.scan.lines import MAX_LINE, lines

    def wrong(what: str, mend: str) -> InvalidInput:
        return InvalidInput(f"{path}, line {number}: {what}; {mend}")

    try:
        with path.open("rb") as stream:
            for number, line in enumerate(lines(stream), start=1):
                if not line.strip():
                    continue
                if path.suffix == ".txt":
                    if len(line) > MAX_LINE:
                        raise wrong(f"longer than {MAX_LINE >> 20} MiB", "a .txt has a prompt a line")
                    try:
                        yield line.decode(), line
                    except UnicodeDecodeError as error:
                        raise wrong(f"not UTF-8: {error.reason}", "save the file as UTF-8") from error
                    continue
                read = reader.read(number, line)
                if read.fault:
                    raise wrong(read.fault, _WANTED)
                if read.document is not None and not _named(read.document):
                    raise wrong("no text in a member that the protocol knows", _WANTED)
                yield read.text, line
    except IsADirectoryError as error:
        raise InvalidInput(f"{path} can't be read: {error.strerror}") from error


def _named(document: Document) -> bool:
    """Whether some text stands where the protocol says, and not in members that it does not know."""
    return not all(part.location.startswith("other#") for part in document.texts())


def _figures(tally: Tally) -> dict[str, Any]:
    found, latency = tally.rate(), tally.latency
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
