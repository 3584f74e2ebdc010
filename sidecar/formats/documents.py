"""JSON documents that formats build: with listed texts, pictures, scores and parameters, and edits of them."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from sidecar.formats.base import FormatError, ImagePart, TextPart
from sidecar.formats.coded_text import CodedText
from sidecar.formats.json_text import KEY, Path, decode, has_surrogate, location, splice, string_token
from sidecar.formats.parameters import Parameter
from sidecar.formats.plain_documents import NO_FACTS
from sidecar.formats.rows import rows
from sidecar.formats.scores import ScoreAt, ScorePart
from sidecar.formats.walk import scalars
from sidecar.model.request import BodyFacts

_NOTHING_LEFT = '"[REDACTED]"'  # in place of a JSON text that a redaction across its structure broke
_DEPTH = 256


class TextAt(msgspec.Struct, frozen=True, gc=False):
    """A text and where it stands. `name` is its location where the path holds keys that the client chose.

    A text of a JSON text that is itself a string of the document (`embedded`, found at `path`) stands there at `inner`;
    without `inner` it is that whole string.
    """

    path: Path
    text: str
    role: str = ""
    name: str = ""
    embedded: str = ""
    inner: Path | None = None
    fixed: bool = False
    joins: str = ""
    identifier: bool = False
    coded: CodedText | None = None
    """Its string is this text in base64."""

    @property
    def names(self) -> bool:
        """Whether it is a key, or a value that decides how others are read."""
        return self.fixed or (self.path if self.inner is None else self.inner)[-1:] == (KEY,)

    def part(self, name: str) -> TextPart:
        """What checks are shown."""
        whole = bool(self.embedded) and self.inner is None
        more = {"again": whole, "json": whole, "fixed": self.names, "identifier": self.identifier}
        return TextPart(location=name, text=self.text, role=self.role, joins=self.joins, **more)


class ImageAt(msgspec.Struct, frozen=True, gc=False):
    """A picture and where it stands: what an ImagePart says, by its path."""

    path: Path
    kind: str
    form: Literal["url", "base64", "stored"]
    written: str = ""
    declared: str = ""


class JsonDocument:
    """A decoded JSON body. Edits are spliced into the original text, so nothing else changes.

    What stands at a `hidden` path becomes null: it repeats the texts in a form that no check can read. What is `replaced`
    was already by these JSON tokens when the texts were listed.
    """

    def __init__(
        self,
        body: bytes,
        text: str,
        *,
        facts: BodyFacts = NO_FACTS,
        texts: Sequence[TextAt] = (),
        scores: Sequence[ScoreAt] = (),
        unscanned: Sequence[str] = (),
        hidden: Sequence[Path] = (),
        replaced: Mapping[Path, str] | None = None,
        parameters: Sequence[Parameter] = (),
        objects: Sequence[Path] = (),
        images: Sequence[ImageAt] = (),
        implied: Mapping[str, str] | None = None,
    ) -> None:
        self._implied = implied or {}
        self._objects = tuple(objects)
        self._parameters = {parameter.path: parameter for parameter in parameters}
        self._body = body
        self._text = text
        self._facts = facts
        self._unscanned = tuple(dict.fromkeys((*unscanned, *(at.kind for at in images))))
        self._images: dict[str, ImageAt] = {}
        self._paths: dict[str, Path] = {}
        self._same: dict[str, int] = {}
        self._embedded: dict[str, TextAt] = {}
        self._coded: dict[str, CodedText] = {}
        self._inner_edits: dict[Path, dict[Path, str]] = {}
        self._parts: dict[str, TextPart] = {}
        self._scores: dict[str, ScoreAt] = {}
        self._edits: dict[Path, str] = {**dict.fromkeys(hidden, "null"), **(replaced or {})}
        self._outer: dict[Path, str] = {}
        """Strings that hold a JSON text with edits inside."""
        for at in texts:
            name = self._free(at.name or location(at.path))
            self._paths[name] = at.path
            self._parts[name] = at.part(name)
            if at.embedded:
                self._embedded[name] = at
            if at.coded is not None:
                self._coded[name] = at.coded
        for image in images:
            name = self._free(location(image.path))
            self._paths[name] = image.path
            self._images[name] = image
        for score in scores:
            name = self._free(f"{location(score.path)}#score" if score.number else location(score.path))
            self._paths[name] = score.path
            self._scores[name] = score

    def _free(self, name: str) -> str:
        """A name of its own also where keys with dots make two paths read alike: no text may hide another."""
        while name in self._paths:
            self._same[name] = number = self._same.get(name, 1) + 1
            name = f"{name}'{number}"
        return name

    @property
    def facts(self) -> BodyFacts:
        return self._facts

    def texts(self) -> Iterator[TextPart]:
        for name, part in self._parts.items():
            at = self._embedded.get(name)
            if at is not None and at.inner is None and (edits := self._inner_edits.get(at.path)):
                yield msgspec.structs.replace(part, text=splice(at.embedded, edits))
            else:
                yield part

    def replace(self, location: str, text: str) -> None:
        """Raises KeyError for a location that `texts` did not name."""
        part = self._parts[location]
        path = self._paths[location]
        if has_surrogate(text):
            raise ValueError("text that UTF-8 can't carry")
        self._parts[location] = msgspec.structs.replace(part, text=text)
        at = self._embedded.get(location)
        if at is not None and at.inner is not None:
            self._inner_edits.setdefault(path, {})[at.inner] = string_token(text)
            self._outer[path] = at.embedded
        else:
            whole = text if at is None or _is_json(text) else _NOTHING_LEFT
            if (coded := self._coded.get(location)) is not None:
                whole = coded.write(text)
            self._edits[path] = string_token(whole)

    def objects(self) -> Mapping[str, str]:
        if not self._objects:
            return {}
        value = json.loads(self.encode())
        return {location(path): json.dumps(_below(value, path), ensure_ascii=False) for path in self._objects}

    def implied(self) -> Mapping[str, str]:
        return self._implied

    def images(self) -> Sequence[ImagePart]:
        return tuple(
            ImagePart(location=name, kind=at.kind, form=at.form, written=at.written, declared=at.declared)
            for name, at in self._images.items()
        )

    def replace_image(self, location: str, written: str | bytes) -> None:
        """Raises KeyError for a location that `images` did not name."""
        at = self._images[location]
        assert isinstance(written, str)
        self._images[location] = msgspec.structs.replace(at, written=written)
        self._edits[at.path] = string_token(written)

    def scores(self) -> Sequence[ScorePart]:
        return [ScorePart(name, at.value, at.group, at.label) for name, at in self._scores.items()]

    def set_score(self, location: str, value: float) -> None:
        """After the texts: a score that a string holds is put into it as it stands now. Raises KeyError for a location
        that `scores` did not name.
        """
        at = self._scores[location]
        if value == at.value:
            return
        if not at.number:
            self._scores[location] = msgspec.structs.replace(at, value=value)
            self._edits[at.path] = repr(value)
            return
        now = json.loads(self._edits[at.path]) if at.path in self._edits else at.written
        if now.startswith(at.number):
            written, number = repr(value) + now[len(at.number) :], repr(value)
            self._scores[location] = ScoreAt(at.path, value, at.group, at.label, number, written)
            self._edits[at.path] = string_token(written)

    def parameters(self) -> Sequence[Parameter]:
        return tuple(self._parameters.values())

    def set_parameter(self, parameter: Parameter) -> None:
        """Raises KeyError for one that `parameters` did not name."""
        if parameter != self._parameters[parameter.path]:
            self._parameters[parameter.path] = parameter
            self._edits[parameter.path] = json.dumps(parameter.value)

    def queries(self) -> Sequence[bytes]:
        return rows(json.loads(self._body))

    def unscanned(self) -> Sequence[str]:
        return self._unscanned

    def encode(self) -> bytes:
        """Inner edits go in here, all of a string at once: one splice per edit would be quadratic."""
        inner = {
            path: string_token(splice(text, self._inner_edits[path]))
            for path, text in self._outer.items()
            if path not in self._edits
        }
        edits = {**inner, **self._edits}
        return splice(self._text, edits).encode() if edits else self._body


def strings(value: Any, path: Path, root: str, role: str = "", known: Container[str] = ()) -> list[TextAt]:
    """Every text below, in document order, named `root#1`, `root#2` …: keys may be the client's own text."""
    found = scalars(value, path, known)
    return [TextAt(at, text, role, f"{root}#{number}") for number, (at, text) in enumerate(found, 1)]


def _below(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def _is_json(text: str) -> bool:
    try:
        decode(text.encode(), max_depth=_DEPTH)
    except FormatError:
        return False
    return True
