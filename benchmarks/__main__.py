"""`make bench`: every path in one run, ratios against Envoy alone of the same run. Table, build/bench.json, build/bench.svg.

ARGS: quick (default, about 5 minutes) or full (about 30); --only WORD; --peer NAME=KIND:COMMAND; --peers; --record NOTE.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from pathlib import Path
from typing import Any

from benchmarks import report, rounds
from benchmarks.cases import CASES, STREAMS, Case, check_only
from benchmarks.peers import installed
from benchmarks.push import measure_push
from benchmarks.streams import measure_streams

_PEER = re.compile(r"([A-Za-z0-9_.-]+)=(?:(grpc|http|proxy)(\+body)?:)?(.+)")


def peer(text: str) -> Case:
    """NAME=COMMAND or NAME=KIND:COMMAND. Raises ValueError."""
    found = _PEER.fullmatch(text)
    if found is None:
        raise ValueError(
            "a peer is NAME=COMMAND or NAME=KIND:COMMAND, KIND grpc, grpc+body, http, http+body or proxy"
        )
    name, kind, body, command = found.groups()
    front: Any = kind or "grpc"
    return Case(path=f"peer_{name}", front=front, command=command, body=bool(body))


def main() -> None:
    """Parse, measure, write."""
    arguments = _arguments()
    length = rounds.QUICK if arguments.length == "quick" else rounds.FULL
    ours = installed() if arguments.peers else ()
    peers = [*arguments.peer, *map(peer, ours)]
    only: str = arguments.only
    known = [case.path for case in (*CASES, *peers, STREAMS)] + ["push_1"]
    check_only(only, known)
    wanted = [case for case in (*CASES, *peers) if only in case.path]
    bases = {case.base for case in wanted}
    cases = [case for case in (*CASES, *peers) if case in wanted or case.path in bases]
    rows = asyncio.run(rounds.run(cases, length)) if cases else []
    if only in STREAMS.path:
        rows.append(asyncio.run(measure_streams(length.streams)))
    if only in "push_1":
        rows.append(asyncio.run(measure_push(length.pushes)))
    made = report.document(rows, arguments.length)
    report.write(made, arguments.out)
    report.show(made)
    if arguments.record:
        report.record(made, arguments.record)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("length", nargs="?", choices=["quick", "full"], default="quick")
    parser.add_argument("--only", default="", help="only paths that contain this word, and their base rows")
    parser.add_argument("--peer", type=peer, action="append", default=[], metavar="NAME=KIND:COMMAND")
    parser.add_argument("--peers", action="store_true", help="also the peers of benchmarks/peers")
    parser.add_argument("--record", default="", metavar="NOTE", help="add this run to benchmarks/README.md")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    made: argparse.Namespace = parser.parse_args()
    return made


if __name__ == "__main__":
    main()
