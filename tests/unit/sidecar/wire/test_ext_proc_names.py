"""Looking for names waits for another process: no request and no answer, streamed or not, holds the worker's loop up by it."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from bartizan.policy.bundle import GuardModel
from bartizan.policy.checks import Pii
from protos.gen.envoy.service.ext_proc.v3 import external_processor_pb2 as proc
from sidecar.audit.record import Record
from sidecar.checks.classifier.model_files import SETTING
from tests.support.guard import guard_plan
from tests.support.names import made
from tests.unit.sidecar.wire.test_ext_proc_bounds import CALL, handler, stream, until_withheld

pytestmark = pytest.mark.usefixtures("patient_children")

PATH = "/v1/chat/completions"
BODY = {"messages": [{"role": "user", "content": "tea for Anna"}]}


def exchange(kind: str, pieces: Sequence[bytes]) -> list[proc.ProcessingRequest]:
    first, request, answer = until_withheld()
    for header in first.request_headers.headers.headers:
        if header.key == ":path":
            header.raw_value = PATH.encode()
    request.request_body.body = json.dumps(BODY).encode()
    answer.response_headers.headers.headers[1].raw_value = kind.encode()
    bodies = [
        proc.ProcessingRequest(response_body=proc.HttpBody(body=data, end_of_stream=number == len(pieces)))
        for number, data in enumerate(pieces, start=1)
    ]
    return [first, request, answer, *bodies]


def delta(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


WHOLE = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "Anna is in"}}]})


@pytest.mark.parametrize(
    ("kind", "pieces"),
    [
        ("application/json", [WHOLE[:40].encode(), WHOLE[40:].encode()]),
        ("text/event-stream", [delta("An"), delta("na is in"), b"data: [DONE]\n\n", b""]),
    ],
)
async def test_names_are_looked_for_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, pieces: list[bytes]
) -> None:
    monkeypatch.setenv(SETTING, str(tmp_path))
    check = Pii(types=("person",), names=made(tmp_path).config)
    plan = guard_plan(
        model=GuardModel(name="m", protocol="openai"), routes=(), input=(check,), output=(check,)
    )
    judged_by: set[int] = set()

    def clock() -> int:
        judged_by.add(threading.get_ident())
        return 0

    records: list[Record] = []
    tested = handler(records, plan, clock_ns=clock)
    replies = [
        proc.ProcessingResponse.FromString(reply)
        async for reply in tested(CALL, stream(exchange(kind, pieces))())
    ]
    assert threading.get_ident() not in judged_by
    assert judged_by
    said = b"".join(
        one.response_body.response.body_mutation.streamed_response.body
        for one in replies
        if one.HasField("response_body")
    )
    assert b"[PERSON] is in" in said
    assert b"Anna" not in said
    assert {(one.check, one.kind) for one in records[-1].findings} == {("pii", "person")}
