"""A request that checks edited, read once more: what goes on must mean what was judged. Pure; called by judge.py.

Rules, patches and bounds judged the body as it came, edits are made after them. An edit that brings a value into a form
that engines act on (a part's type, a model's name) would go around them.
"""

from __future__ import annotations

from collections.abc import Callable

from sidecar.checks.content import ContentResult, holds_unjudged
from sidecar.formats.base import Document, FormatError
from sidecar.model.request import RequestHead
from sidecar.plan.plan import Plan


def reads_otherwise(
    plan: Plan,
    head: RequestHead,
    body: bytes,
    judged: Document,
    result: ContentResult,
    gone: Callable[[], bool],
) -> str:
    """What of the edited `body` is not as the `judged` document had it, in one word; "" where nothing is.

    Bounds of answers may have become smaller. Raises Abandoned soon after `gone` says that nobody waits.
    """
    try:
        again = plan.format.decode_request(head.path, head.headers.get("content-type", ""), body)
    except FormatError:
        return "unreadable"
    now, then = again.facts, judged.facts
    if (now.model, now.stream) != (then.model, then.stream):
        return "model"
    if not set(again.unscanned()) <= set(judged.unscanned()):
        return "unscanned"
    if {image.location for image in again.images()} - {image.location for image in judged.images()}:
        return "images"
    if plan.patches and plan.patches.refuses(body) is not None:
        return "patch"
    asked = again.parameters()
    found = {finding for check in plan.input.parameters for finding, _ in check.judge(asked)}
    if not found <= set(result.findings):
        return "parameters"
    return "text" if holds_unjudged(again, plan.input, result.passed, gone) else ""
