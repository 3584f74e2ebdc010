"""The one exception tree. Expected outcomes (a denial, a NACK) are values; these are faults and bad input.

BartizanError
├── InvalidInput            a document, argument or setting is wrong; carries every problem
│   └── PolicyInvalid       a policy was refused
├── NotFound                nothing by that name
├── Conflict                the state changed meanwhile, or the name is taken
├── Forbidden               the caller may not do that
├── TrustError              something could not be verified; nothing of it was used
│   ├── SignatureInvalid
│   ├── RolledBack          a version older than one already seen
│   └── IdentityRefused     attestation or peer identity failed
├── ResourceRejected        a configuration that this sidecar can't take: becomes a NACK
├── DependencyError         Vault, a provider, the store, the control plane
│   ├── DependencyUnavailable   may work later
│   └── DependencyRefused       answered no; trying again won't help
├── ExpressionFailed        an authorization rule could not be evaluated: the caller denies
├── ProtocolViolation       a peer broke its protocol
└── ProcessFailed           a child process did not start or ended
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a document.

    path is the document path ("spec.limits.requests[0].rate"), code a constant snake_case name,
    message says what is wrong, hint how to mend it. document: kind and name of the document that the path is of, where
    that is another one than the one at hand ("MeshPolicy baseline"). line: of the document's text, 0 where not known.
    """

    path: str
    code: str
    message: str
    hint: str = ""
    document: str = ""
    line: int = 0

    @property
    def place(self) -> str:
        """Document or line, and path, for people."""
        where = self.document or (f"line {self.line}" if self.line else "")
        return f"{where}, {self.path}" if where else self.path or "(document)"


class BartizanError(Exception):
    """Root of the tree."""


class InvalidInput(BartizanError):
    """A document, argument or setting is wrong; `problems` holds all of them, sorted by line and path."""

    def __init__(self, summary: str, problems: Iterable[Problem] = ()) -> None:
        super().__init__(summary)
        self.summary = summary
        self.problems = tuple(
            sorted(problems, key=lambda each: (each.document, each.line, each.path, each.code))
        )

    def __str__(self) -> str:
        lines = [f"{p.place}: {p.message}{f' ({p.hint})' if p.hint else ''}" for p in self.problems]
        return "\n  ".join([self.summary, *lines])


class PolicyInvalid(InvalidInput):
    """A policy document was refused."""


class NotFound(BartizanError):
    """Nothing by that name."""


class Conflict(BartizanError):
    """The state changed meanwhile, or the name is taken."""


class Forbidden(BartizanError):
    """The caller may not do that."""


class Crowded(BartizanError):
    """One caller has as much as it may have at a time; others are served."""


class TrustError(BartizanError):
    """Something could not be verified; nothing of it was used."""


class SignatureInvalid(TrustError):
    """No known key made this signature over these bytes."""


class RolledBack(TrustError):
    """A version older than one already seen."""


class IdentityRefused(TrustError):
    """Attestation or peer identity failed."""


class ResourceRejected(BartizanError):
    """A configuration that this sidecar can't take; `path` is the document path where known."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


class DependencyError(BartizanError):
    """Something outside of this process failed."""


class DependencyUnavailable(DependencyError):
    """It may work later; `retry_after` in seconds where the other side said so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DependencyRefused(DependencyError):
    """It answered no; trying again won't help."""


class ExpressionFailed(BartizanError):
    """An authorization rule could not be evaluated (a missing map key, a bad type): the caller denies."""


class ProtocolViolation(BartizanError):
    """A peer broke its protocol."""


class ProcessFailed(BartizanError):
    """A child process did not start or ended."""


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors themselves, without the groups that task groups put around them."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error
