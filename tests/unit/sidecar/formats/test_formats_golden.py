"""Golden bodies of every protocol: which texts they hold, and what a client gets when they are redacted, cut, flagged.

A case is a folder below tests/golden/formats/<protocol>/ with request.json (a form: request.form, with CRLF for its line
ends), answer.json or a stream, and its path in `path`; what comes out stands beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from bartizan.policy.bundle import GuardModel, GuardPlan
from bartizan.policy.checks import Canary, Pii
from bartizan.policy.schema import Protocol, Route
from sidecar.checks.base import CheckSet
from sidecar.checks.content import inspect_document
from sidecar.checks.detectors import canary, pii
from sidecar.checks.stream import StreamInspector
from sidecar.formats.base import Document, Format
from sidecar.formats.catalog import build_format
from sidecar.model.finding import Action

CASES = Path(__file__).parents[3] / "golden" / "formats"
TOKEN = "canary-7f3a9c21"
ROUTE = Route(
    path="/predict",
    input_text=("$.text", "$.inputs[*].data"),
    output_text=("$.text",),
    output_scores=("$.probabilities",),
)
REQUESTS = {"request.json": "application/json", "request.form": "multipart/form-data; boundary=golden"}
STREAMS = {"stream.sse": "text/event-stream", "stream.ndjson": "application/x-ndjson"}


def make(protocol: str) -> Format:
    model = GuardModel(name="m", protocol=protocol)  # type: ignore[arg-type]
    declares = protocol in {"json_fields", "image"}
    plan = GuardPlan(
        id="1.1",
        policy="a/b",
        revision=1,
        model=model,
        tenants=("t",),
        routes=(ROUTE,) if declares else (),
        output=(Pii(),),
    )
    return build_format(plan)


def checks(action: str) -> CheckSet:
    mail = pii.build(Pii(types=("email",), action="flag" if action == "flag" else "redact"))
    word = canary.build(Canary(tokens=(TOKEN,), action=action))  # type: ignore[arg-type]
    return CheckSet(texts=(mail, word))


def cases(*files: str) -> list[Any]:
    found = [file for file in sorted(CASES.glob("*/*/*")) if file.name in files]
    return [pytest.param(file, id=str(file.relative_to(CASES))) for file in found]


def told(document: Document) -> str:
    lines = [f"{part.location} ({part.role}): {part.text!r}" for part in document.texts()]
    lines += [f"score {score.location}: {score.value}" for score in document.scores()]
    return "\n".join([*lines, f"unscanned: {', '.join(document.unscanned())}", f"{document.facts}", ""])


def where(file: Path) -> tuple[Format, str, str]:
    folder = file.parent
    return (
        make(folder.parent.name),
        (folder / "path").read_text().strip(),
        str(folder.relative_to(CASES.parent)),
    )


@pytest.mark.parametrize("file", cases(*REQUESTS))
def test_a_request_is_read_and_redacted(file: Path, golden: Any) -> None:
    form, path, place = where(file)
    data = file.read_bytes()
    if file.suffix == ".form":
        data = data.replace(b"\n", b"\r\n")
    document = form.decode_request(path, REQUESTS[file.name], data)
    golden(f"{place}/request.texts", told(document))
    inspect_document(document, checks("redact"), shadow=False)
    golden(f"{place}/request.redacted", document.encode().decode().replace("\r\n", "\n"))


@pytest.mark.parametrize("file", cases("answer.json"))
def test_an_answer_is_read_and_redacted(file: Path, golden: Any) -> None:
    form, path, place = where(file)
    document = form.decode_answer(path, "application/json", file.read_bytes())
    golden(f"{place}/answer.texts", told(document))
    inspect_document(document, checks("redact"), shadow=False)
    golden(f"{place}/answer.redacted", document.encode().decode())


@pytest.mark.parametrize("file", cases("answer.json"))
def test_an_answer_that_is_flagged_passes_as_it_came_and_one_to_be_cut_is_denied(file: Path) -> None:
    form, path, _ = where(file)
    data = file.read_bytes()
    document = form.decode_answer(path, "application/json", data)
    read = "".join(part.text for part in document.texts())
    unseen = document.encode()  # without what repeats the text where no check reads it
    flagged = inspect_document(document, checks("flag"), shadow=False)
    assert document.encode() == unseen
    assert (flagged.action is Action.FLAG) == ("@" in read or TOKEN in read)
    assert inspect_document(document, checks("cut"), shadow=False).action is (
        Action.DENY if TOKEN in read else Action.REDACT if "@" in read else Action.ALLOW
    )


@pytest.mark.parametrize("file", cases(*STREAMS))
@pytest.mark.parametrize("action", ["redact", "cut", "flag"])
def test_a_stream_is_redacted_cut_or_flagged(file: Path, action: str, golden: Any) -> None:
    form, path, place = where(file)
    data = file.read_bytes()
    outputs = set()
    for size in (1, 7, len(data)):
        stream = form.answer_stream(path, STREAMS[file.name])
        assert stream is not None
        inspector = StreamInspector(stream, checks(action), shadow=False, decision_id="d1")
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        said = b"".join(inspector.feed(piece, end=False).data for piece in pieces)
        outputs.add(said + inspector.feed(b"", end=True).data)
    (out,) = outputs
    golden(f"{place}/stream.{action}", out.decode())


def test_every_protocol_has_golden_bodies_and_a_golden_denial() -> None:
    bodies = {file.parts[-3] for name in REQUESTS for file in CASES.glob(f"*/*/{name}")}
    assert bodies == set(get_args(Protocol))
    assert {file.parent.name for file in CASES.glob("*/denial.json")} == set(get_args(Protocol))


def test_every_protocol_that_streams_has_a_golden_stream() -> None:
    streams = {file.parts[-3] for name in STREAMS for file in CASES.glob(f"*/*/{name}")}
    paths = {file.parts[-3]: file.read_text().strip() for file in CASES.glob("*/*/path")}
    assert streams == {
        protocol
        for protocol in get_args(Protocol)
        if any(make(protocol).answer_stream(paths[protocol], kind) for kind in STREAMS.values())
    }
