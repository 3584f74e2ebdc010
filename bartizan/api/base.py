"""What the parts of the API's vocabulary are made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bartizan.errors import Problem

ShortText = Annotated[str, Meta(min_length=1, max_length=128)]
OptionalText = Annotated[str, Meta(max_length=64)]
RoleName = Literal["viewer", "author", "platform", "operator", "auditor", "admin"]
MAX_TOKEN_SECONDS = 90 * 86400
MAX_JOIN_SECONDS = 600


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what the API answers."""


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what the API takes."""


class ProblemItem(Answer, frozen=True):
    """One thing wrong, or one to think about: where, a constant code, what, and how to mend it.

    document: kind and name of the document that the path is of; left out for the one that was sent.
    """

    path: str
    code: str
    message: str
    hint: str = ""
    document: str = ""


def items(problems: Iterable[Problem]) -> tuple[ProblemItem, ...]:
    """As the API shows them."""
    return tuple(
        ProblemItem(path=one.path, code=one.code, message=one.message, hint=one.hint, document=one.document)
        for one in problems
    )


class ProblemDetails(Answer, frozen=True):
    """application/problem+json (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    problems: tuple[ProblemItem, ...] = ()


class Health(Answer, frozen=True):
    """`reasons`: constant snake_case words, empty when all is well."""

    status: Literal["ok", "not_ready"]
    reasons: tuple[str, ...] = ()
    version: str = ""
