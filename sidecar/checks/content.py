"""Runs the content checks over a whole document: a request, or an answer that is not streamed.

Checks run in policy order and each sees what the one before left: detectors look at sanitized text. Every finding is
kept; the strongest action wins. An answer that is not yet sent can't be cut, so `cut` denies it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import msgspec

from bartizan.errors import BartizanError
from sidecar.checks.base import CheckSet, TextCheck
from sidecar.checks.joined_parts import JoinedParts
from sidecar.checks.restore import RestoreCheck
from sidecar.checks.tokens import Tokens
from sidecar.formats.base import Document, TextPart
from sidecar.model.finding import Action, Edit, Finding

MAX_TEXTS = 2_500
"""Texts of one body: each costs a fixed effort however short it is. Batches for embeddings hold up to 2,048."""
TOO_MANY_TEXTS = "too_many_texts"

NAME_WOULD_CHANGE = Finding(check="request", kind="name_would_change", action=Action.DENY)


class Abandoned(BartizanError):
    """Nobody waits for the result any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentResult:
    """What was seen. `changed` says whether the document was edited; `scanned_bytes` counts its text in UTF-8."""

    findings: tuple[Finding, ...]
    action: Action
    scanned_bytes: int
    changed: bool
    renames: bool = False
    """A check would have edited a text that is `fixed`, and those were to stay."""
    unseen: tuple[str, ...] = ()
    """Why not everything in the texts was looked at."""
    passed: frozenset[tuple[str, str]] = field(default=frozenset(), repr=False)
    """Roles and texts as they are after all edits."""


def too_many_texts(document: Document, checks: CheckSet) -> bool:
    """Whether the document holds more texts than are inspected: it must be refused then."""
    return bool(checks.texts) and sum(1 for _ in islice(document.texts(), MAX_TEXTS + 1)) > MAX_TEXTS


def inspect_document(
    document: Document,
    checks: CheckSet,
    *,
    shadow: bool,
    keep_fixed: bool = False,
    gone: Callable[[], bool] = lambda: False,
) -> ContentResult:
    """Apply the checks but those of pictures, edits included. With `shadow` everything is found and nothing is changed.

    `keep_fixed`: texts that are `fixed` are never edited; a check that would is a finding that denies.

    After a denial the document's edits are incomplete: it must not be sent. `gone` is asked before every check of
    every text; once it says yes, this raises Abandoned.
    """
    findings: dict[Finding, None] = {}
    scanned = 0
    changed = renames = False
    judged: dict[tuple[str, str, bool, bool, bool], _Judged] = {}
    if checks.texts:
        joined = JoinedParts()
        for part in document.texts():
            stages = checks.judging(part)
            scanned += 0 if part.again or not stages else len(part.text.encode())
            alike = (part.role, part.text, part.fixed, part.json, part.identifier)
            if alike not in judged:
                judged[alike] = _inspect_part(part, stages, gone)
            found, text = judged[alike].findings, judged[alike].text
            findings.update((replace(finding, location=part.location), None) for finding in found)
            joined.add(part, text, found)
            if text == part.text:
                continue
            if keep_fixed and part.fixed:
                renames = True
                findings[replace(NAME_WOULD_CHANGE, location=part.location)] = None
            else:
                changed = True
                if not shadow:
                    document.replace(part.location, text)
        findings.update(dict.fromkeys(joined.judge(checks.texts)))
    if checks.restores and checks.scope:
        changed = _restore(document, checks, checks.scope.tokens, findings, gone, shadow=shadow) or changed
    if checks.wholes:
        texts = {part.location: part.text for part in document.texts()} | dict(document.objects())
        texts |= dict(document.implied())
        for whole in checks.wholes:
            read = {location: text for location, text in texts.items() if whole.reads(location)}
            findings.update(dict.fromkeys(whole.judge(read, complete=True)))
    changed = _adjust_scores(document, checks, findings, shadow=shadow) or changed
    changed = _bound_parameters(document, checks, findings, shadow=shadow) or changed
    every = tuple(findings)
    return ContentResult(
        findings=every,
        action=strongest(every),
        scanned_bytes=scanned,
        changed=changed and not shadow,
        renames=renames,
        unseen=tuple(dict.fromkeys(reason for made in judged.values() for reason in made.unseen)),
        passed=frozenset((role, made.text) for (role, *_), made in judged.items()),
    )


def inspect_images(
    document: Document, checks: CheckSet, *, shadow: bool, gone: Callable[[], bool] = lambda: False
) -> ContentResult:
    """Apply the checks of pictures, in the same way; they ask other processes. Raises ChildFailed and Abandoned."""
    findings: dict[Finding, None] = {}
    scanned, changed = 0, False
    for check in checks.images:
        for looked in check.judge(document.images(), gone):
            findings.update(dict.fromkeys(looked.findings))
            scanned += looked.size
            if looked.written is not None:
                changed = True
                if not shadow:
                    document.replace_image(looked.part.location, looked.written)
        if gone():
            raise Abandoned
    every = tuple(findings)
    return ContentResult(
        findings=every, action=strongest(every), scanned_bytes=scanned, changed=changed and not shadow
    )


def holds_unjudged(
    document: Document, checks: CheckSet, passed: Container[tuple[str, str]], gone: Callable[[], bool]
) -> bool:
    """Whether a text that has not `passed` is one that a check denies or would edit. Raises Abandoned."""
    if too_many_texts(document, checks):
        return True
    for part in document.texts() if checks.texts else ():
        if (part.role, part.text) not in passed:
            made = _inspect_part(part, checks.judging(part), gone)
            if made.text != part.text or strongest(made.findings) > Action.FLAG:
                return True
    return False


def strongest(findings: Sequence[Finding]) -> Action:
    """The action for a whole body: the strongest of its findings, `cut` raised to `deny`."""
    action = max((finding.action for finding in findings), default=Action.ALLOW)
    return Action.DENY if action is Action.CUT else action


def unedited(finding: Finding) -> Finding:
    """The same one in what nobody may edit."""
    return replace(finding, action=Action.DENY) if finding.action is Action.REDACT else finding


def apply_edits(text: str, edits: Sequence[Edit]) -> str:
    """`text` with every edit made. Edits do not overlap; their order does not matter."""
    out: list[str] = []
    done = 0
    for edit in sorted(edits, key=lambda edit: edit.start):
        out += (text[done : edit.start], edit.replacement)
        done = edit.end
    out.append(text[done:])
    return "".join(out)


@dataclass(frozen=True, slots=True)
class _Judged:
    """What was found in one part, the text that is left, and why not everything in it was looked at."""

    findings: Sequence[Finding]
    text: str
    unseen: Sequence[str] = ()


def _inspect_part(part: TextPart, checks: Sequence[TextCheck], gone: Callable[[], bool]) -> _Judged:
    """Of an identifier all text is left: nothing of it can be redacted, only denied.

    Says the same of every part with this role, text, `fixed`, `json` and `identifier`.
    """
    findings: list[Finding] = []
    unseen: list[str] = []
    for check in checks:
        if gone():
            raise Abandoned
        inspection = check.inspect(part)
        unseen += inspection.unseen
        if part.identifier:
            findings += map(unedited, inspection.findings)
            continue
        findings += inspection.findings
        if inspection.edits:
            text = apply_edits(part.text, inspection.edits)
            part = msgspec.structs.replace(part, text=text)
    return _Judged(findings, part.text, unseen)


def _restore(
    document: Document,
    checks: CheckSet,
    tokens: Tokens,
    findings: dict[Finding, None],
    gone: Callable[[], bool],
    *,
    shadow: bool,
) -> bool:
    """After all other checks, and once: a text that holds others, listed after them, has got theirs already.

    What is put back may be an attacker's part of a link, so checks of what is rendered look at the outcome.
    """
    stages = (RestoreCheck(tokens), *checks.rendered)
    changed = False
    for part in list(document.texts()) if tokens else ():
        if part.identifier:
            continue
        made = _Judged((), part.text) if part.again else _inspect_part(part, stages, gone)
        findings.update(dict.fromkeys(made.findings))
        if made.text != part.text:
            changed = True
            if not shadow:
                document.replace(part.location, made.text)
    return changed


def _bound_parameters(
    document: Document, checks: CheckSet, findings: dict[Finding, None], *, shadow: bool
) -> bool:
    changed = False
    for check in checks.parameters:
        for finding, less in check.judge(document.parameters()):
            findings[finding] = None
            if less is not None:
                changed = True
                if not shadow:
                    document.set_parameter(less)
    return changed


def _adjust_scores(
    document: Document, checks: CheckSet, findings: dict[Finding, None], *, shadow: bool
) -> bool:
    scores = document.scores() if checks.scores else ()
    now = [score.value for score in scores]
    for check in checks.scores:
        asked = [
            msgspec.structs.replace(score, value=value) for score, value in zip(scores, now, strict=True)
        ]
        adjusted = check.adjust(asked)
        if adjusted != now:
            findings[Finding(check=check.name, kind="adjusted", action=Action.REDACT)] = None
        now = adjusted
    changed = False
    for score, value in zip(scores, now, strict=True):
        if value != score.value:
            changed = True
            if not shadow:
                document.set_score(score.location, value)
    return changed
