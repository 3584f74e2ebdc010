"""What a body format must offer: where the text is, how to change it, how its stream and its errors look.

A format never interprets text. It decodes strictly (bounded depth, no duplicate keys, valid UTF-8), lists text parts,
and re-encodes only when an edit or a rounding changed something: untouched bodies travel byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Literal, Protocol

from sidecar.formats.parameters import Parameter
from sidecar.formats.scores import ScorePart
from sidecar.model.decision import Cause
from sidecar.model.request import BodyFacts
from sidecar.model.value import Value

_SIGNS = r"[\x00-/:-@\[-`{-\x7f]*+"
_ONE_WORD = re.compile(f"{_SIGNS}[A-Za-z0-9]*+{_SIGNS}")


class TextPart(Value, frozen=True, kw_only=True):
    """One piece of text. `location` is stable inside one document ("messages[0].content")."""

    hidden: ClassVar[frozenset[str]] = frozenset({"text"})

    location: str
    text: str
    role: str = ""
    again: bool = False
    """Holds texts that were listed before it: counted once."""
    written: bool = False
    """A JSON text as it is written: what is put into its strings must be escaped."""
    fixed: bool = False
    """A member's key, or a word that the protocol goes by (a part's type): checks read it, no request's is edited."""
    json: bool = False
    """A whole JSON text, after its keys and values."""
    identifier: bool = False
    """Others go by it (an id, a model's name): only checks that say so read it, and nobody edits it."""
    joins: str = ""
    """Where the text stands that engines, or clients of a stream, make of this one and others with the same value: the
    content of a message, the name of a call.
    """

    @property
    def prose(self) -> bool:
        """Whether it may say something: no name, no JSON of names and values, and more than one word of Latin letters."""
        return not (self.fixed or self.json or self.identifier) and _ONE_WORD.fullmatch(self.text) is None


class ImagePart(Value, frozen=True, kw_only=True):
    """A place where a body holds a picture, or says where one is. `location` as for texts."""

    hidden: ClassVar[frozenset[str]] = frozenset({"written"})

    location: str
    kind: str
    """What records call it when nobody looked at it ("image_url")."""
    form: Literal["url", "base64", "raw", "stored"]
    """A URL of any scheme, data URLs too; base64; the bytes themselves; the id of something that the engine keeps."""
    written: str | bytes
    """As the body has it; nothing for what is stored."""
    declared: str = ""
    """The media type that the body names beside it."""


DEFINITION = "definition"
"""The role of what an application defines its task with. No client can give it to a message."""
TOKEN_IDS = "token_ids"
PROMPT_EMBEDS = "prompt_embeds"
FILE_DATA = "file_data"
SHARED_MEMORY = "shared_memory"
TENSOR = "tensor"
"""Numbers that are a model's input: features, pixels, but also token ids."""
UNDELIVERED = "The model's answer could not be delivered."
UNREADABLE = frozenset({TOKEN_IDS, PROMPT_EMBEDS, FILE_DATA, SHARED_MEMORY})
"""Kinds of unscanned content that are the prompt itself in another form: with input checks they are refused."""


class FormatError(Exception):
    """The body can't be read as this format; becomes a denial with this cause before the model sees anything."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail


class Document(Protocol):
    """A decoded body."""

    @property
    def facts(self) -> BodyFacts: ...
    def texts(self) -> Iterable[TextPart]:
        """All text that a check may look at, in document order. One that holds others follows them, with their edits."""

    def replace(self, location: str, text: str) -> None:
        """Put new text at a location that `texts` named."""

    def objects(self) -> Mapping[str, str]:
        """JSON objects by which an answer calls tools where they are no strings, as JSON with all edits, by location."""

    def implied(self) -> Mapping[str, str]:
        """What validators see beside the texts, by location: "" where content would be if there were any, and names of
        tools that an answer calls by the type of an item.
        """

    def images(self) -> Sequence[ImagePart]:
        """Pictures, in document order (may be empty)."""

    def replace_image(self, location: str, written: str | bytes) -> None:
        """Put another picture, written in the same form, at a location that `images` named."""

    def scores(self) -> Sequence[ScorePart]:
        """A classic model's scores (may be empty)."""

    def set_score(self, location: str, value: float) -> None: ...
    def parameters(self) -> Sequence[Parameter]:
        """What a request asks of the engine beside its text (may be empty)."""

    def set_parameter(self, parameter: Parameter) -> None:
        """Put this value in the place of one that `parameters` named."""

    def queries(self) -> Sequence[bytes]:
        """What the model is asked, each by bytes that tell it from others: the rows of a batch, else the whole body."""

    def unscanned(self) -> Sequence[str]:
        """Kinds of content that no check of texts looks at ("image_url"); the caller records the reason."""

    def encode(self) -> bytes:
        """The original bytes if nothing changed, else the re-encoded document."""


class StreamPiece(Value, frozen=True, kw_only=True):
    """One event of a streamed answer: its text deltas (location = the text's own stream, "choices[0].delta.content")."""

    texts: tuple[TextPart, ...]
    objects: tuple[TextPart, ...] = ()
    """JSON objects that are whole in this event and call tools, as JSON: for validators; their texts are among `texts`."""
    identifiers: tuple[TextPart, ...] = ()
    """Those that no event before this one had; each is whole."""
    final: bool = False
    """The whole answer ends here ("[DONE]")."""
    finished: tuple[str, ...] = ()
    """Prefixes of the text streams that end with this event ("choices[0]."): nothing follows on them."""
    unscanned: tuple[str, ...] = ()
    """Kinds of content in this event that pass without being looked at, or not across events."""
    joined: tuple[tuple[int, ...], ...] = ()
    """Which of its texts, by number, are parts of one: each is whole here."""
    whole: bool = False
    """The event makes no sense with a part of its texts: one that is cut is not sent at all."""

    @property
    def only_says(self) -> bool:
        """Whether it holds one text, and nothing beside it that anybody looks at."""
        if len(self.texts) != 1 or self.identifiers or self.objects or self.joined:
            return False
        return not (self.final or self.finished or self.unscanned)


class AnswerStream(Protocol):
    """Sans-I/O decoder and encoder of a streamed answer. Bytes in, events out; events re-encoded with new text."""

    def feed(self, chunk: bytes, *, end: bool) -> None:
        """Take bytes as they arrive, split anywhere. Raises FormatError when they can't be read, and has read what stands
        before that.
        """

    def repeated(self, chunk: bytes) -> TextPart | None:
        """What these bytes say, if they are the event before them with another text, and none waits: `take` it next. None: they
        are for `feed`.
        """

    def text_of(self, location: str) -> str:
        """The text that clients make of this text stream and others, its blocks; "" where they show it alone."""

    def events(self) -> Sequence[StreamPiece]:
        """Whole events decoded and not yet taken."""

    def unsaid(self) -> Sequence[TextPart]:
        """Empty texts in place of answers that said nothing until the stream's end; events before it name their own
        among their objects.
        """

    def take(self, texts: Sequence[str] | None) -> bytes:
        """Encode the oldest event: None = with its own texts, else with these in their place."""

    def closing(self, pending: Sequence[TextPart]) -> bytes:
        """Held-back text as an event of its own, before the stream's last event or at its end."""

    def cut(self, decision_id: str, *, named: bool = True) -> bytes:
        """A valid end of the stream for a client of this protocol, after an answer was cut; not `named`: without the
        answer's own identifiers.
        """

    def fail(self, decision_id: str) -> bytes:
        """The same after what can't be read: clients are told of a fault, not of a refusal."""


class Format(Protocol):
    """One protocol. Chosen per plan, not per request."""

    name: str

    def decode_request(self, path: str, content_type: str, body: bytes) -> Document:
        """Raises FormatError."""

    def decode_answer(self, path: str, content_type: str, body: bytes, status: int = 200) -> Document:
        """An answer outside of 2xx may lack declared fields; all its strings are text then. Raises FormatError."""

    def reads_answer(self, path: str, content_type: str, status: int) -> bool:
        """Whether an answer of this type may be decoded: False is known before a byte of its body is there."""

    def answer_stream(self, path: str, content_type: str) -> AnswerStream | None:
        """A decoder if this content type is a stream in this protocol, else None."""

    def error_body(self, status: int, message: str, decision_id: str) -> tuple[str, bytes]:
        """Content type and body of a denial in the client's protocol."""
