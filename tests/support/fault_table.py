"""Reads tests/e2e/faults.yaml and plays its rows against running sidecars, one after another.

All rows are played first; the audit records are read afterwards, because they arrive some tenths of a second later.
"""

from __future__ import annotations

import gzip
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tests.support.local_sidecar import LocalSidecar
from tests.support.raw_client import Reply, exchange, parse, shed, wait_until
from tests.support.raw_model import RawModel, Received

DECISION = "x-bartizan-decision"
PAUSE = 0.03
"""Between two rows, so that a record's time tells whose it is."""


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request. `raw` (with {key} for a valid key) replaces everything else."""

    method: str = "POST"
    path: str = ""
    headers: tuple[str, ...] | dict[str, int] = ()
    """Lines; or {many: N} lines, or {large: N} bytes in one."""
    content_type: str = "application/json"
    body: str | dict[str, Any] | None = None
    credentials: tuple[str, ...] = ("valid",)
    raw: str = ""
    patience: float = 10.0
    repeat: int = 1
    stop_after: int = 0
    one_answer: bool = True
    """False: read on, for another answer may follow that must not."""


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One case. An empty cause says that no decision was made and so none is recorded."""

    name: str
    status: int
    cause: str
    reached_model: int
    policy: str = "fields"
    request: Ask = Ask()
    model: str = ""
    answer_has: tuple[str, ...] = ()
    answer_lacks: tuple[str, ...] = ()
    answer_headers: dict[str, str] = {}
    model_has: tuple[str, ...] = ()
    model_lacks: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    """Causes of further records: the guard let pass what Envoy then refused."""
    record: dict[str, Any] = {}
    record_lacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What happened in one row."""

    reply: Reply
    received: tuple[Received, ...]
    started: float
    ended: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """One sidecar with its model."""

    sidecar: LocalSidecar
    model: RawModel
    path: str
    body: str


def read_rows(file: Path) -> list[Row]:
    """Every row; names are unique."""
    rows = msgspec.convert(yaml.safe_load(file.read_text()), list[Row])
    names = [row.name for row in rows]
    assert len(set(names)) == len(names), "two rows of one name"
    return rows


def payload(ask: Ask, stand: Stand, credential: Callable[[str], str]) -> tuple[bytes, bool]:
    """The request's bytes, and whether the client ends its side after them (a truncated body)."""
    if ask.raw:
        return ask.raw.replace("{key}", credential("valid")).replace("\n", "\r\n").encode("latin-1"), False
    body, extra, truncated = _body(stand.body if ask.body is None else ask.body)
    lines = [f"{ask.method} {ask.path or stand.path} HTTP/1.1", "host: localhost", "connection: close"]
    if ask.content_type:
        lines.append(f"content-type: {ask.content_type}")
    lines += [*(credential(name) for name in ask.credentials), *_headers(ask), *extra]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body, truncated


def _headers(ask: Ask) -> list[str]:
    if isinstance(ask.headers, tuple):
        return list(ask.headers)
    ((kind, size),) = ask.headers.items()
    return [f"x-{number}: a" for number in range(size)] if kind == "many" else [f"x-large: {'a' * size}"]


def _body(said: str | dict[str, Any]) -> tuple[bytes, list[str], bool]:
    """Bytes, the headers that frame them, and whether something is missing at their end."""
    if isinstance(said, str):
        return said.encode(), [f"content-length: {len(said.encode())}"], False
    ((kind, value),) = said.items()
    extra: list[str] = []
    missing = 0
    match kind:
        case "hex":
            data = bytes.fromhex(value)
        case "size":  # a JSON body of exactly this many bytes
            data = b'{"text": "' + b"a" * (value - 12) + b'"}'
        case "deep":
            data = b'{"text": ' + b"[" * value + b"]" * value + b"}"
        case "gzip":
            data, extra = gzip.compress(value.encode()), ["content-encoding: gzip"]
        case "gzip_size":  # inflates to a JSON body of exactly this many bytes, not very much smaller
            words = random.Random(1).choices(
                ["time", "year", "people", "way", "day", "man", "thing"], k=value
            )
            text = " ".join(words)[: value - 12]
            data, extra = gzip.compress(f'{{"text": "{text}"}}'.encode()), ["content-encoding: gzip"]
        case "gzip_bomb":
            data, extra = gzip.compress(b" " * value + b'{"text": "bomb"}'), ["content-encoding: gzip"]
        case "gzip_cut":
            data, extra = gzip.compress(value.encode())[:-12], ["content-encoding: gzip"]
        case "truncated":
            data, missing = value.encode(), 10
        case "chunked":
            data = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in _pieces(value)) + b"0\r\n\r\n"
            return data, ["transfer-encoding: chunked"], False
        case "chunked_cut":
            data = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in _pieces(value))
            return data, ["transfer-encoding: chunked"], True
        case _:
            raise AssertionError(kind)
    return data, [*extra, f"content-length: {len(data) + missing}"], bool(missing)


def _pieces(value: str | int) -> list[bytes]:
    data = _body({"size": value})[0] if isinstance(value, int) else value.encode()
    step = max(7, len(data) // 16)
    return [data[at : at + step] for at in range(0, len(data), step)]


def play(row: Row, stand: Stand, credential: Callable[[str], str]) -> Played:
    """Send the row's request (`repeat` times; the last answer counts) and note what the model saw. All of it again where
    the answer came only of waiting.
    """
    stand.model.says = row.model or stand.model.default
    if row.model == "down":
        stand.model.down()
    data, half_close = payload(row.request, stand, credential)
    for _ in range(20):
        before, started, asked = len(stand.model.received), time.time(), time.monotonic()
        raw = b""
        for _ in range(row.request.repeat):
            raw = exchange(
                stand.sidecar.port,
                data,
                half_close=half_close,
                patience=row.request.patience,
                stop_after=row.request.stop_after,
                one_answer=row.request.one_answer,
            )
        reply = parse(raw, row.request.method)
        if row.status == 503 or not shed(reply.status, asked):
            break
    if row.model == "down":
        stand.model.up()
    if row.cause and DECISION not in reply.headers:
        # its record is known by its time, so it must be made before the next row begins
        wait_until(lambda: len(_made_since(started, stand)) > len(row.others))
    time.sleep(PAUSE)
    return Played(
        reply=reply,
        received=tuple(stand.model.received[before:]),
        started=started,
        ended=time.time(),
    )


def _made_since(started: float, stand: Stand) -> list[Mapping[str, Any]]:
    return [record for record in stand.sidecar.records() if record["time"] >= started]


def records_of(played: Played, stand: Stand, others: tuple[str, ...] = ()) -> list[Mapping[str, Any]]:
    """The row's audit records: by the decision id that the client was told, else by their time."""
    decision = played.reply.headers.get(DECISION, "")

    def found() -> list[Mapping[str, Any]]:
        return [
            record
            for record in stand.sidecar.records()
            if (
                record["id"].removesuffix("-e") == decision
                if decision
                else played.started <= record["time"] <= played.ended
            )
        ]

    wait_until(lambda: len(found()) > len(others))
    return found()


def described(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False)
