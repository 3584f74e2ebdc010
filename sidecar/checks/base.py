"""What a content check is: a pure function over the text of one part, and a streaming form with bounded hold-back.

Checks never see bytes, headers or the network. They are built once per plan (catalog.py) and hold no request state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, cast, runtime_checkable

from sidecar.checks.query_history import QueryHistory
from sidecar.checks.scope import Scope
from sidecar.formats.base import ImagePart, TextPart
from sidecar.formats.parameters import Parameter
from sidecar.formats.scores import ScorePart
from sidecar.model.finding import Action, Edit, Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What one check says of one text part. Edits are applied from the end backwards and do not overlap."""

    findings: tuple[Finding, ...] = ()
    edits: tuple[Edit, ...] = ()
    unseen: tuple[str, ...] = ()
    """Why not everything in the text was looked at."""


CLEAN = Inspection()


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What was seen of one picture; `written` takes its place, None for nothing; so many of its bytes were looked at."""

    part: ImagePart
    findings: tuple[Finding, ...] = ()
    written: str | bytes | None = None
    size: int = 0


class TextCheck(Protocol):
    """A sanitizer or detector."""

    name: str
    max_match: int
    """L: no match is longer than this many characters, so a stream needs to hold back at most L-1 of them."""

    def inspect(self, part: TextPart) -> Inspection: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One hit of a span check: text[start:end] is a `kind`, and `replacement` takes its place when it is redacted."""

    start: int
    end: int
    kind: str
    replacement: str
    rule: str = ""
    """The form that matched, where a kind has several ("es/dni")."""
    score: float = 1.0
    """How sure it is, 0 to 1: 1 with a checksum or a provider's own form, less where a word beside it decides."""
    action: Action | None = None
    """Where it is not the check's own: this stretch was not judged, and nothing takes its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a report says of one hit beyond the finding: where it is in the part's text, how sure it is, by which rule."""

    kind: str
    action: Action
    start: int
    end: int
    score: float
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A check's evidence (one or more for each of its findings), its score for the text, hit or not, 0 to 1, and the
    edits of its inspection.
    """

    score: float = 0.0
    evidence: tuple[Evidence, ...] = ()
    edits: tuple[Edit, ...] = ()


@runtime_checkable
class ExplainedCheck(Protocol):
    """A check that says more than its findings when asked. Its evidence names the same kinds as its findings."""

    name: str

    def explain(self, part: TextPart) -> Explanation: ...


class BoundCheck(TextCheck, Protocol):
    """A check whose edits differ from exchange to exchange."""

    @property
    def binds(self) -> bool:
        """Whether this one's do."""

    def bound(self, scope: Scope) -> TextCheck:
        """The same check for one exchange."""


class AskingCheck(TextCheck, Protocol):
    """A check that asks another process about texts, and so blocks."""

    @property
    def asks(self) -> bool:
        """Whether this one does."""

    def start(self) -> None:
        """Make ready what it asks. Raises ResourceRejected where that can't be."""


class SpanCheck(TextCheck, Protocol):
    """A check whose hits are stretches of text, so that it can also follow a stream with a bounded hold-back.

    One with `piecewise` is shown only what has settled: what follows says nothing of it.
    """

    action: Action
    context: int
    """How many characters before a possible match decide about it (look-behind)."""

    def matches(self, text: str, start: int = 0) -> list[Match]:
        """Hits that begin at `start` or later; text before it is context only. In order, without overlaps."""

    def settled(self, text: str) -> int:
        """No match that begins before this index can appear, grow or vanish when more text follows.

        At least len(text) - max_match + 1; larger where the end of the text can't begin a match.
        """


class CalmCheck(SpanCheck, Protocol):
    """A span check that can tell by one quick look that a text holds nothing for it, as nearly all do."""

    def calm(self, text: str, seen: int = 0) -> int | None:
        """What `settled` says of a text in which `matches` finds nothing; None when it takes a closer look to know.

        The first `seen` characters are the end of a text of which it has said so: it need not read them for signs again.
        """


class QuietCheck(SpanCheck, Protocol):
    """A span check, calm or without context, that looks at plain words together with others (quiet.py)."""

    loud: str | None
    """A pattern without which a text of plain words is calm, and may begin a find in its last word alone. None: it can't
    tell.
    """


class WholeCheck(Protocol):
    """A validator of texts of an answer that mean something only when they are complete and seen together."""

    name: str
    action: Action

    def reads(self, location: str) -> bool:
        """Whether it looks at this text at all."""

    def holds(self, location: str) -> bool:
        """Whether a stream must keep this text until it is complete."""

    def judge(self, texts: Mapping[str, str], *, complete: bool) -> list[Finding]:
        """Of all texts that it reads, by location; not `complete`: more may follow on each that it holds."""


class ParameterCheck(Protocol):
    """A validator of what a request asks of the engine."""

    name: str

    def judge(self, asked: Sequence[Parameter]) -> list[tuple[Finding, Parameter | None]]:
        """What is wrong, each with what shall stand in its place, or None where nothing can."""


class QueryCheck(Protocol):
    """A validator of what a caller asks a model over time."""

    name: str

    def judge(self, history: QueryHistory, caller: str, queries: Sequence[bytes]) -> list[Finding]:
        """Count these queries of the caller, and say what all of them amount to."""


class ImageCheck(Protocol):
    """A check of a request's pictures. It asks another process, and so it blocks."""

    name: str

    def start(self) -> None:
        """Make ready what it asks. Raises ResourceRejected where that can't be."""

    def judge(self, parts: Sequence[ImagePart], gone: Callable[[], bool]) -> Sequence[Looked]:
        """What was seen of each. Raises ChildFailed; ends early once `gone` says that nobody waits."""


class ScoreCheck(Protocol):
    """A validator of a classic model's scores."""

    name: str

    def adjust(self, scores: Sequence[ScorePart]) -> list[float]:
        """The values that take the place of these, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSet:
    """The content checks of one direction, in policy order.

    restores: answers are read for the tokens of their requests, too.
    """

    texts: Sequence[TextCheck] = field(default=())
    scores: Sequence[ScoreCheck] = field(default=())
    wholes: Sequence[WholeCheck] = field(default=())
    parameters: Sequence[ParameterCheck] = field(default=())
    queries: Sequence[QueryCheck] = field(default=())
    images: Sequence[ImageCheck] = field(default=())
    restores: bool = False
    scope: Scope | None = None
    """Of the exchange that these checks are bound to."""

    def __bool__(self) -> bool:
        wholes = self.wholes or self.queries or self.restores
        return bool(self.texts or self.scores or self.parameters or self.images or wholes)

    def of_identifier(self, text: str) -> Sequence[TextCheck]:
        """Those that also read what others go by (ids, names of models), if it is no longer than they say."""
        return [check for check in self.texts if len(text) <= getattr(check, "identifiers", -1)]

    @property
    def identifying(self) -> Sequence[TextCheck]:
        """Those that do at all."""
        return self.of_identifier("")

    def judging(self, part: TextPart) -> Sequence[TextCheck]:
        """Those that look at this part."""
        return self.of_identifier(part.text) if part.identifier else self.texts

    @property
    def rendered(self) -> Sequence[TextCheck]:
        """Those that judge what a reader's window makes of an answer: they see it with its tokens put back, too."""
        return [check for check in self.texts if getattr(check, "rendered", False)]

    @property
    def asking(self) -> Sequence[AskingCheck]:
        """Those of texts that ask another process."""
        return [cast("AskingCheck", check) for check in self.texts if getattr(check, "asks", False)]

    def start(self) -> None:
        """Make ready all that is asked. Raises ResourceRejected where that can't be."""
        for image in self.images:
            image.start()
        for text in self.asking:
            text.start()

    @property
    def binds(self) -> bool:
        """Whether they must be bound to an exchange."""
        return self.restores or any(getattr(check, "binds", False) for check in self.texts)

    def bound(self, scope: Scope) -> CheckSet:
        """The same checks for one exchange."""
        texts = [
            cast("BoundCheck", check).bound(scope) if getattr(check, "binds", False) else check
            for check in self.texts
        ]
        return replace(self, texts=texts, scope=scope)
