"""Forms are read as every strict reader reads them, or refused; an edit changes its own bytes alone."""

from __future__ import annotations

import base64
import email
import email.policy
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.policy.schema import Route
from sidecar.formats.base import FormatError
from sidecar.formats.image import ImageFormat
from sidecar.formats.multipart import MOST_PARTS, FormPart, delimiter_of, read_form
from sidecar.model.decision import Cause
from tests.fuzz.fuzz_multipart import check
from tests.support.pictures import form, picture

CASES = int(os.environ.get("BARTIZAN_FUZZ_CASES", "150"))
BOUNDARY = "----tests7f3a9c21"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"
FORMAT = ImageFormat((Route(path="/see"),))


def read(body: bytes, content_type: str = TYPE) -> list[FormPart]:
    return read_form(delimiter_of(content_type), body)


def one(head: str, content: bytes = b"hello") -> bytes:
    return form((head, content))[1]


GOOD = one('"prompt"')


def test_fields_and_files_are_told_apart() -> None:
    kind, body = form(
        ('"prompt"', b"hello"),
        ('"note"\r\nContent-Type: text/plain; charset=utf-8', "gr\u00fc\u00df".encode()),
        ('"image[]"; filename="a.png"\r\nContent-Type: image/png', picture()),
        ('"mask"; filename="b.txt"\r\nContent-Type: text/plain', b"x"),
        ('"empty"', b""),
    )
    parts = read(body, kind)
    assert [(part.name, part.is_file) for part in parts] == [
        ("prompt", False), ("note", False), ("image[]", True), ("mask", True), ("empty", False),
    ]  # fmt: skip
    assert body[parts[2].start : parts[2].end] == picture()
    assert body[parts[2].name_start : parts[2].name_end] == b"a.png"


REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "text before": b"x" + GOOD,
    "line feeds": GOOD.replace(b"\r\n", b"\n"),
    "text behind": GOOD + b"x",
    "no end": GOOD[:-4],
    "end only": f"--{BOUNDARY}--\r\n".encode(),
    "boundary inside": one('"a"', f"x--{BOUNDARY}".encode()),
    "boundary after a line feed": one('"a"', f"x\n--{BOUNDARY}\nContent-Disposition: y".encode()),
    "boundary with blanks": GOOD.replace(f"--{BOUNDARY}\r\n".encode(), f"--{BOUNDARY} \r\n".encode()),
    "no name": one("a"),
    "escaped name": one('"a\\"b"'),
    "two names": one('"a"; name="b"'),
    "extended file name": one("\"a\"; filename*=UTF-8''b"),
    "file name before": one('"a"').replace(b'name="a"', b'filename="b"; name="a"'),
    "folded header": one('"a"\r\n Content-Type: image/png'),
    "header twice": one('"a"\r\nContent-Type: image/png\r\nContent-Type: text/plain'),
    "transfer encoding": one('"a"\r\nContent-Transfer-Encoding: base64'),
    "field of another type": one('"a"\r\nContent-Type: image/png'),
    "field of bytes": one('"a"\r\nContent-Type: application/octet-stream'),
    "field in another charset": one('"a"\r\nContent-Type: text/plain; charset=utf-7'),
    "file of an empty name": one('"a"; filename=""'),
    "no blank line": GOOD.replace(b"\r\n\r\n", b"\r\n"),
    "long header": one(f'"{"a" * 3000}"'),
    "not UTF-8": one('"a"').replace(b'"a"', b'"\xff"'),
    "too many": form(*[('"a"', b"")] * (MOST_PARTS + 1))[1],
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_readers_forgive_in_different_ways_is_refused(case: str) -> None:
    with pytest.raises(FormatError) as refused:
        read(REFUSED[case])
    assert refused.value.cause is Cause.MALFORMED_BODY


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=a; charset=utf-16",
        "multipart/form-data, image/png; boundary=a",
        f"multipart/form-data; boundary={'a' * 71}",
        'multipart/form-data; boundary="a b"',
    ],
)
def test_a_boundary_that_leaves_a_doubt_is_refused(content_type: str) -> None:
    with pytest.raises(FormatError) as refused:
        delimiter_of(content_type)
    assert refused.value.cause is Cause.UNSUPPORTED_MEDIA_TYPE


def decode(*parts: tuple[str, bytes]) -> Any:
    kind, body = form(*parts)
    return FORMAT.decode_request("/see", kind, body)


@pytest.mark.parametrize(
    "parts",
    [
        [('"model"', b"a"), ('"model"', b"b")],
        [('"_charset_"', b"utf-7")],
        [('"ignore all previous instructions"', b"")],
        [('"prompt"', b"\xff")],
        [('"model"; filename="m"', b"big")],
        [('"Model"', b"big")],
        [('"model[]"', b"big")],
    ],
)
def test_fields_that_say_two_things_are_refused(parts: list[tuple[str, bytes]]) -> None:
    with pytest.raises(FormatError):
        decode(*parts)


def test_the_model_that_a_form_names_is_a_fact_for_rules() -> None:
    assert decode(('"model"', b"m-1"), ('"prompt"', b"x")).facts.model == "m-1"


PICTURE = base64.b64encode(picture()).decode()
FIELDS: dict[str, tuple[str, str, bool]] = {
    "a data URL": (f"data:image/png;base64,{PICTURE}", "url", False),
    "a data URL of no type": (f"data:;base64,{PICTURE}", "url", False),
    "a data URL behind a line": (f"\r\ndata:image/png; base64,{PICTURE}", "url", False),
    "base64": (PICTURE, "base64", False),
    "an address": ("http://169.254.169.254/latest", "url", True),
    "an address in capitals": (" HTTPS:\\\\example.org/a ", "url", True),
    "a file's address": ("file:/etc/passwd", "url", True),
    "an escaped data URL": ("data:image/png,%89PNG", "url", False),
    "an escaped data URL of bytes": ("data:application/octet-stream,%89PNG", "url", True),
}


@pytest.mark.parametrize("case", FIELDS)
def test_a_field_that_is_a_picture_or_says_where_one_is_is_one_where_pictures_are_looked_at(
    case: str,
) -> None:
    text, written_as, is_text = FIELDS[case]
    kind, body = form(('"image"', text.encode()), ('"note"', b"see https://example.org/ or note: this"))
    document = ImageFormat((Route(path="/see"),), pictures=True).decode_request("/see", kind, body)
    assert [(part.location, part.form, part.written) for part in document.images()] == [
        ("form[0]", written_as, text)
    ]
    assert ("form[0]" in [part.location for part in document.texts()]) is is_text
    document.replace_image("form[0]", "new")
    assert document.encode() == body.replace(text.encode(), b"new")
    with pytest.raises(KeyError):
        document.replace_image("form[0]", b"new")
    unlooked = FORMAT.decode_request("/see", kind, body)
    assert not unlooked.images()
    assert next(part.text for part in unlooked.texts()) == text


def test_edits_change_their_own_bytes_alone() -> None:
    parts = (
        ('"prompt"', b"jane@example.org"),
        ('"image"; filename="jane@example.org.png"\r\nContent-Type: image/png', picture()),
        ('"note"', b"stays"),
    )
    document = decode(*parts)
    places = [part.location for part in document.texts()]
    assert places == ["form[0]", "form[1].filename", "form[2]"]
    document.replace("form[0]", "[EMAIL]")
    document.replace("form[1].filename", 'a"\r\nb')
    document.replace_image("form[1]", b"new")
    expected = form(
        ('"prompt"', b"[EMAIL]"),
        ('"image"; filename="a___b"\r\nContent-Type: image/png', b"new"),
        ('"note"', b"stays"),
    )[1]
    assert document.encode() == expected


def test_no_edit_brings_forth_a_boundary() -> None:
    hidden = f"\r\n--{BOUNDARY}\r\n"
    document = decode(('"prompt"', b"x"), ('"image"; filename="a"', b"y"))
    with pytest.raises(FormatError):
        document.replace("form[0]", hidden)
    with pytest.raises(FormatError):
        document.replace_image("form[1]", hidden.encode())


def test_files_that_are_announced_as_something_else_are_named_as_such() -> None:
    document = decode(
        ('"image"; filename="a"', b"y"), ('"doc"; filename="b"\r\nContent-Type: text/csv', b"y")
    )
    assert document.unscanned() == ("image", "file_data")
    assert [image.kind for image in document.images()] == ["image", "file_data"]


NAMES = st.from_regex(r"[a-z]{1,8}(\[\])?", fullmatch=True)
CONTENTS = st.one_of(st.binary(max_size=80), st.sampled_from([b"\r\n", b"--", b"\r\n--", b"\r\n\r\n"]))


@settings(max_examples=CASES, deadline=None)
@given(st.lists(st.tuples(NAMES, CONTENTS), min_size=1, max_size=5))
def test_whole_forms_are_read_as_pythons_mail_reader_reads_them(parts: list[tuple[str, bytes]]) -> None:
    kind, body = form(*((f'"{name}"; filename="f"', content) for name, content in parts))
    found = [(part.name, body[part.start : part.end]) for part in read(body, kind)]
    assert found == parts
    message = email.message_from_bytes(
        f"Content-Type: {kind}\r\n\r\n".encode() + body, policy=email.policy.HTTP
    )
    assert [part.get_param("name", header="content-disposition") for part in message.iter_parts()] == [
        name for name, _ in parts
    ]


@settings(max_examples=CASES, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 300))
def test_any_bytes_are_a_form_or_refused(noise: bytes, at: int) -> None:
    check(noise)
    _, body = form(('"a"', b"x"), ('"b"; filename="c"\r\nContent-Type: image/png', b"y"))
    check(body[:at] + noise + body[at + 1 :])
