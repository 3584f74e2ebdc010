"""Documents that are no JSON: plain text, and bytes nobody looks into."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sidecar.formats.base import FormatError, ImagePart, TextPart
from sidecar.formats.parameters import Parameter
from sidecar.formats.scores import ScorePart
from sidecar.model.decision import Cause
from sidecar.model.request import BodyFacts

NO_FACTS = BodyFacts()


class Untouched:
    """What documents answer that hold nothing of the kind."""

    facts: BodyFacts = NO_FACTS

    def texts(self) -> Iterable[TextPart]:
        return ()

    def replace(self, location: str, text: str) -> None:
        raise KeyError(location, text)

    def images(self) -> Sequence[ImagePart]:
        return ()

    def replace_image(self, location: str, written: str | bytes) -> None:
        raise KeyError(location, written)

    def objects(self) -> Mapping[str, str]:
        return {}

    def implied(self) -> Mapping[str, str]:
        return {}

    def scores(self) -> Sequence[ScorePart]:
        return ()

    def set_score(self, location: str, value: float) -> None:
        raise KeyError(location, value)

    def parameters(self) -> Sequence[Parameter]:
        return ()

    def set_parameter(self, parameter: Parameter) -> None:
        raise KeyError(parameter.path)

    def unscanned(self) -> Sequence[str]:
        return ()


class PlainDocument(Untouched):
    """A body that is one text, such as a model server's error page."""

    def __init__(self, body: bytes) -> None:
        try:
            self._text = body.decode("utf-8")
        except UnicodeDecodeError:
            raise FormatError(Cause.MALFORMED_BODY, "not valid UTF-8") from None
        self._body = body
        self._changed = False

    def texts(self) -> Sequence[TextPart]:
        return (TextPart(location="body", text=self._text),) if self._text else ()

    def replace(self, location: str, text: str) -> None:
        if location != "body":
            raise KeyError(location)
        self._text = text
        self._changed = True

    def queries(self) -> Sequence[bytes]:
        return (self._body,)

    def encode(self) -> bytes:
        return self._text.encode() if self._changed else self._body


class OpaqueDocument(Untouched):
    """Bytes that pass as they are."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def queries(self) -> Sequence[bytes]:
        return (self._body,)

    def unscanned(self) -> Sequence[str]:
        return ("opaque",) if self._body else ()

    def encode(self) -> bytes:
        return self._body
