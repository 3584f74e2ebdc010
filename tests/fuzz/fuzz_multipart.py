"""Fuzzes the reader of forms: `python -m tests.fuzz.play multipart`. The suite plays `check` with hypothesis."""

from __future__ import annotations

from sidecar.formats.base import FormatError
from sidecar.formats.image import FormDocument
from sidecar.formats.multipart import read_form

BOUNDARY = "----tests7f3a9c21"


def check(data: bytes) -> None:
    """A form or a refusal; every byte of a form belongs to one part or to what stands around them."""
    delimiter = f"--{BOUNDARY}".encode()
    try:
        parts = read_form(delimiter, data)
    except FormatError:
        return
    assert parts
    assert data.count(delimiter) == len(parts) + 1
    done = 0
    for part in parts:
        assert done < part.start <= part.end < len(data)
        assert data[part.start - 4 : part.start] == b"\r\n\r\n"
        assert data[part.end : part.end + 2 + len(delimiter)] == b"\r\n" + delimiter
        done = part.end
    try:
        document = FormDocument(f"multipart/form-data; boundary={BOUNDARY}", data)
    except FormatError:
        return
    assert document.encode() is data
    for text in document.texts():
        document.replace(text.location, text.text)
    for image in document.images():
        document.replace_image(image.location, image.written)
    assert document.encode() == data


one_input = check


def seeds() -> list[bytes]:
    """Good forms."""
    head = b'--%b\r\nContent-Disposition: form-data; name="' % BOUNDARY.encode()
    end = b"\r\n--%b--\r\n" % BOUNDARY.encode()
    field, file = (
        head + b'a"\r\n\r\nhello',
        head + b'b[]"; filename="c.png"\r\nContent-Type: image/png\r\n\r\n\x89PNG',
    )
    return [
        field + end,
        file + end,
        field + b"\r\n" + file + end,
        file + b"\r\n" + field + b"\r\n" + field + end,
    ]
