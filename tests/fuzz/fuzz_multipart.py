"""Fuzzes the reader of forms: `python tests/fuzz/fuzz_multipart.py` with atheris installed (it is no dependency). The
suite plays `check` with hypothesis.
"""

from __future__ import annotations

import importlib
import sys

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


def main() -> None:
    """Run until stopped."""
    atheris = importlib.import_module("atheris")
    atheris.instrument_all()
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
