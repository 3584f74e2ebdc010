"""The format of models that take a picture: the body itself, or multipart/form-data with fields beside it.

Fields and names of files are text; every file is taken for a picture. Where a check looks at pictures, so is a field that
is one in base64, or its address. Answers are JSON, read by the fields that the policy declares.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from bartizan.policy.schema import Route
from sidecar.formats.base import FILE_DATA, AnswerStream, Document, FormatError, ImagePart, TextPart
from sidecar.formats.json_fields import JsonFieldsFormat
from sidecar.formats.json_text import DEFAULT_DEPTH, has_surrogate
from sidecar.formats.magic import looks_like_picture
from sidecar.formats.media_type import kind
from sidecar.formats.multipart import FormPart, delimiter_of, is_form, read_form
from sidecar.formats.plain_documents import Untouched
from sidecar.formats.problem import problem_body
from sidecar.model.decision import Cause
from sidecar.model.request import BodyFacts

KIND = "image"
_BYTES = "application/octet-stream"
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}(?:\[\])?")
_UNFIT = re.compile(r'["\\\r\n\x00-\x1f\x7f]')
"""What a file name can't hold without a second way to write it."""
_DATA = re.compile(r"\s*+data:[^,]*;\s*base64\s*,", re.IGNORECASE)
_ADDRESS = re.compile(r"\s*+(?:data:|[a-z][a-z0-9+.-]*:[/\\])\S*\s*", re.IGNORECASE)
"""A field that is an address and nothing else: a server may fetch it."""


class ImageFormat:
    """Bodies of type image/*, application/octet-stream and multipart/form-data."""

    name = "image"

    def __init__(
        self, routes: Iterable[Route], *, max_depth: int = DEFAULT_DEPTH, pictures: bool = False
    ) -> None:
        """`pictures`: a check looks at pictures, so fields may be some."""
        self._pictures = pictures
        self._answers = JsonFieldsFormat(routes, max_depth=max_depth)

    def decode_request(self, path: str, content_type: str, body: bytes) -> Document:  # noqa: ARG002
        if is_form(content_type):
            return FormDocument(content_type, body, pictures=self._pictures)
        media_type = kind(content_type)
        if media_type != _BYTES and not media_type.startswith("image/"):
            raise FormatError(Cause.UNSUPPORTED_MEDIA_TYPE, "neither a picture nor a form")
        if not body:
            raise FormatError(Cause.MALFORMED_BODY, "empty body")
        return PictureDocument(body, media_type)

    def decode_answer(self, path: str, content_type: str, body: bytes, status: int = 200) -> Document:
        return self._answers.decode_answer(path, content_type, body, status)

    def reads_answer(self, path: str, content_type: str, status: int) -> bool:
        return self._answers.reads_answer(path, content_type, status)

    def answer_stream(self, path: str, content_type: str) -> AnswerStream | None:
        return self._answers.answer_stream(path, content_type)

    def error_body(self, status: int, message: str, decision_id: str) -> tuple[str, bytes]:
        return problem_body(status, message, decision_id)


class PictureDocument(Untouched):
    """A body that is one picture."""

    def __init__(self, body: bytes, media_type: str) -> None:
        self._body = body
        self._type = media_type

    def images(self) -> Sequence[ImagePart]:
        return (ImagePart(location="body", kind=KIND, form="raw", written=self._body, declared=self._type),)

    def replace_image(self, location: str, written: str | bytes) -> None:
        if location != "body" or not isinstance(written, bytes):
            raise KeyError(location)
        self._body = written

    def queries(self) -> Sequence[bytes]:
        return (self._body,)

    def unscanned(self) -> Sequence[str]:
        return (KIND,)

    def encode(self) -> bytes:
        return self._body


class FormDocument(Untouched):
    """A form. What is edited is spliced into the bytes, so nothing else changes."""

    def __init__(self, content_type: str, body: bytes, *, pictures: bool = False) -> None:
        """Raises FormatError."""
        self._body = body
        self._edits: dict[tuple[int, int], bytes] = {}
        self._texts: dict[str, TextPart] = {}
        self._images: dict[str, ImagePart] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._delimiter = delimiter_of(content_type)
        models: list[str] = []
        for number, part in enumerate(read_form(self._delimiter, body)):
            root = f"form[{number}]"
            if not _FIELD.fullmatch(part.name) or part.name == "_charset_":
                raise FormatError(Cause.MALFORMED_BODY, "form: a field of an odd name")
            if part.name.removesuffix("[]").lower() == "model" and (part.name != "model" or part.is_file):
                raise FormatError(Cause.MALFORMED_BODY, "form: model is no plain field of that very name")
            content = body[part.start : part.end]
            if part.is_file:
                self._file(root, part, content)
                continue
            try:
                text = content.decode("utf-8")
            except UnicodeDecodeError:
                raise FormatError(Cause.MALFORMED_BODY, "form: not valid UTF-8") from None
            self._field(root, text, (part.start, part.end), pictures)
            models += [text] if part.name == "model" else []
        if len(models) > 1:
            raise FormatError(Cause.DUPLICATE_KEYS, "form: model stands twice")
        self.facts = BodyFacts(model="".join(models))

    def _file(self, root: str, part: FormPart, content: bytes) -> None:
        if part.filename:
            self._text(f"{root}.filename", part.filename, (part.name_start, part.name_end))
        self._places[root] = (part.start, part.end)
        declared = part.media_type.partition(";")[0]
        named = KIND if declared in {"", _BYTES} or declared.startswith("image/") else FILE_DATA
        self._images[root] = ImagePart(
            location=root, kind=named, form="raw", written=content, declared=declared
        )

    def _field(self, root: str, text: str, place: tuple[int, int], pictures: bool) -> None:
        encoded = pictures and (looks_like_picture(text) or _DATA.match(text) is not None)
        if encoded or (pictures and _ADDRESS.fullmatch(text)):
            form: Literal["url", "base64"] = "url" if ":" in text[:64] else "base64"
            self._images[root] = ImagePart(location=root, kind=KIND, form=form, written=text)
            self._places[root] = place
        if not encoded:  # an address is text, too
            self._text(root, text, place)

    def _text(self, location: str, text: str, place: tuple[int, int]) -> None:
        if text:
            self._texts[location] = TextPart(location=location, text=text, role="user")
            self._places[location] = place

    def texts(self) -> Iterable[TextPart]:
        return tuple(self._texts.values())

    def replace(self, location: str, text: str) -> None:
        if has_surrogate(text):
            raise ValueError("text that UTF-8 can't carry")
        self._texts[location] = msgspec.structs.replace(self._texts[location], text=text)
        written = _UNFIT.sub("_", text) if location.endswith(".filename") else text
        self._edit(location, written.encode())

    def images(self) -> Sequence[ImagePart]:
        return tuple(self._images.values())

    def replace_image(self, location: str, written: str | bytes) -> None:
        if type(written) is not type(self._images[location].written):
            raise KeyError(location)
        self._images[location] = msgspec.structs.replace(self._images[location], written=written)
        self._edit(location, written.encode() if isinstance(written, str) else written)

    def _edit(self, location: str, data: bytes) -> None:
        """Normalised text, or a picture written anew, may hold what ends a part: then the model would read another form."""
        if self._delimiter in data:
            raise FormatError(Cause.MALFORMED_BODY, "form: a boundary that an edit brings forth")
        self._edits[self._places[location]] = data

    def queries(self) -> Sequence[bytes]:
        return (self._body,)

    def unscanned(self) -> Sequence[str]:
        return tuple(dict.fromkeys(image.kind for image in self._images.values()))

    def encode(self) -> bytes:
        if not self._edits:
            return self._body
        out: list[bytes] = []
        done = 0
        for (start, end), data in sorted(self._edits.items()):
            out += (self._body[done:start], data)
            done = end
        return b"".join((*out, self._body[done:]))
