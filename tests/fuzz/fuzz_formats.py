"""Fuzzes every format's reading of requests and answers, and what edits do to a body.

Whatever the bytes, a reader gives a document or a FormatError with a cause of its own side; untouched it is the same
bytes; the same texts put back mean the same; an edit changes its own JSON token and no other byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from bartizan.policy.bundle import GuardModel, GuardPlan
from bartizan.policy.checks import Pii
from bartizan.policy.schema import Route
from sidecar.formats.base import Document, Format, FormatError
from sidecar.formats.catalog import build_format
from sidecar.formats.embedded import written_out
from sidecar.formats.json_text import decode
from sidecar.formats.plain_documents import PlainDocument
from sidecar.model.decision import Cause
from tests.fuzz.program import GOLDEN, Program, golden_bodies

PATHS = {
    "openai": ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings"),
    "anthropic": ("/v1/messages",),
    "ollama": ("/api/chat", "/api/generate"),
    "mcp": ("/mcp",),
    "kserve_v2": ("/v2/models/m/infer",),
    "kserve_v1": ("/v1/models/m:predict",),
    "json_fields": ("/predict",),
    "image": ("/predict",),
    "opaque": ("/x",),
}
TYPES = (
    "application/json",
    "text/plain",
    "application/problem+json",
    "text/html; charset=utf-8",
    "image/png",
)
MARK = 'QQ "\\\n\u2028\U0001f600'
_ANSWERS = frozenset({Cause.ANSWER_MALFORMED, Cause.ANSWER_TOO_LARGE})
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[-+0-9.eE]+|true|false|null', re.DOTALL)


def _format(protocol: str, mode: str) -> Format:
    model = GuardModel(name="m", protocol=protocol)  # type: ignore[arg-type]
    route = Route(path="/predict", input_text=("$.text", "$.inputs[*].data"), output_text=("$.text",))
    return build_format(
        GuardPlan(
            id="1.1",
            policy="a/b",
            revision=1,
            model=model,
            tenants=("t",),
            routes=(route,),
            output=(Pii(),),
            mode=mode,  # type: ignore[arg-type]
        )
    )


FORMATS = {(protocol, mode): _format(protocol, mode) for protocol in PATHS for mode in ("enforce", "shadow")}


def one_input(data: bytes) -> None:
    """Its first bytes: protocol, path, side; then where the body comes from, and the body."""
    program = Program(data)
    protocol = program.choice(sorted(PATHS))
    form = FORMATS[protocol, program.choice(("enforce", "shadow"))]
    path, answer = program.choice(PATHS[protocol]), program.flag()
    kind = program.choice(TYPES) if program.byte() % 8 == 0 else TYPES[0]
    status = program.choice((200, 200, 200, 307, 400, 500))
    edited = program.byte()
    match program.byte() % 4:
        case 0:
            body = program.rest()
        case 1:
            body = program.written(program.value())
        case _:
            body = program.written(program.golden(golden_bodies(protocol, "answer" if answer else "request")))

    def read() -> Document:
        if answer:
            return form.decode_answer(path, kind, body, status)
        return form.decode_request(path, kind, body)

    cause = None
    try:
        read()
    except FormatError as error:
        cause = error.cause
    if cause is None:
        check(read, body, edited, answer=answer)
    else:
        assert answer is (cause in _ANSWERS), cause


def check(read: Callable[[], Document], body: bytes, edited: int, *, answer: bool) -> None:
    """What holds for every document. `edited`: which text is changed."""
    document = read()
    before = document.encode()
    if not answer:
        assert before is body
    document.queries(), document.unscanned(), document.facts, document.objects(), document.parameters()
    parts = list(document.texts())
    assert len({part.location for part in parts}) == len(parts)
    for score in document.scores():
        document.set_score(score.location, score.value)
    for parameter in document.parameters():
        document.set_parameter(parameter)
    for image in document.images():
        if image.form in {"url", "base64"} and image.written:
            document.replace_image(image.location, image.written)
    assert _meaning(document.encode()) == _meaning(before)
    mine = [part for part in parts if answer or not part.fixed]
    if mine:
        part = mine[edited % len(mine)]
        document.replace(part.location, part.text)
        assert _meaning(document.encode()) == _meaning(before), "the same text put back"
        fresh = read()
        fresh.replace(part.location, MARK)
        if isinstance(fresh, PlainDocument):
            assert fresh.encode() == MARK.encode()
        else:
            one_token(before.decode(), fresh.encode().decode())


def one_token(old: str, new: str) -> None:
    """Only one token of a JSON text differs; the rest is there character for character."""
    start = _alike(old, new)
    end = len(old) - _alike(old[start:][::-1], new[start:][::-1])
    assert any(token.start() <= start and end <= token.end() for token in _TOKEN.finditer(old)), old[
        start:end
    ]
    json.loads(new)
    assert len(_leaves(old)) == len(_leaves(new))
    assert sum(one != other for one, other in zip(_leaves(old), _leaves(new), strict=True)) <= 1


def _alike(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (mine, its) in pairs if mine != its), min(len(one), len(other)))


def _meaning(body: bytes) -> Any:
    """Numbers as the texts that checks see, JSON texts in strings by theirs. None for what is no JSON."""
    try:
        return _plain(json.loads(body, parse_int=_whole, parse_float=_fraction))
    except ValueError:
        return None


def _whole(digits: str) -> str:
    return str(int(digits))


def _fraction(digits: str) -> str:
    return str(float(digits))


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case str() if value.lstrip()[:1] not in set('{["'):
            return _written_out(value)
        case str():
            try:
                decode(value.encode("utf-8", "replace"))
            except FormatError:
                return _written_out(value)
            return "JSON", _plain(json.loads(value, parse_int=_whole, parse_float=_fraction))
    return value


def _written_out(text: str) -> str:
    """What escapes in a text that is no JSON stand for, whether or not it was read so before."""
    for _ in range(8):
        text, before = written_out(text), text
        if text == before:
            break
    return text


def _leaves(text: str) -> list[str]:
    """Every token that is no punctuation, in order."""
    return _TOKEN.findall(text)


def seeds() -> list[bytes]:
    """Golden bodies as they stand, behind a head that says so."""
    made = []
    for number, protocol in enumerate(sorted(PATHS)):
        for answer in (0, 1):
            head = bytes((number, 0, 0, answer, 1, 0, 7))
            made += [head + bytes((2, index, 0)) for index in range(4)]
            name = "answer" if answer else "request"
            made += [head + b"\x00" + file.read_bytes() for file in GOLDEN.glob(f"{protocol}/*/{name}.json")]
    return made
