"""What is made of a caller is kept, but never by thousands of long names."""

from __future__ import annotations

import secrets
import sys

import pytest

from sidecar.audit.evidence import action_name, decision_note
from sidecar.checks.pipeline import _LET_ON
from sidecar.model.decision import allow
from sidecar.model.kept import Kept
from sidecar.model.request import Identity, RequestHead
from sidecar.wire.span_export import encode
from sidecar.wire.trace import NO_PARENT, DecisionSpans, attributes_of
from sidecar.wire.translate_check import content_reply, pass_reply

HEAD = RequestHead(stream_id="", method="POST", path="/", headers={}, source_address="203.0.113.7")


def caller(length: int) -> Identity:
    """Nobody has asked before."""
    return Identity(subject=secrets.token_hex(8) + "s" * length, tenant="t", method="jwt")


def test_what_was_made_once_is_not_made_again_and_there_is_a_most() -> None:
    made: list[tuple[Identity | None, int]] = []

    def make(identity: Identity | None, number: int) -> int:
        made.append((identity, number))
        return number

    kept = Kept(make, 2)
    jane = caller(9)
    assert [kept[jane, 1], kept[None, 1], kept[jane, 1], kept[None, 1]] == [1, 1, 1, 1]
    assert made == [(jane, 1), (None, 1)]
    assert kept[jane, 2] == 2
    assert list(kept) == [(jane, 2)]


def test_of_callers_with_long_names_everything_is_made_and_nothing_kept() -> None:
    kept = Kept(lambda identity: identity, 2)
    long = caller(6_000)
    assert kept[long,] == long
    assert not kept


@pytest.mark.parametrize(("length", "is_kept"), [(6_000, False), (20, True)])
def test_a_worker_keeps_no_long_names_of_those_whom_it_let_on(length: int, is_kept: bool) -> None:
    jane = caller(length)
    subject = jane.subject
    before = sys.getrefcount(jane), sys.getrefcount(subject)
    for decision_id in ("a" * 32, "b" * 32):
        decision_note(
            _LET_ON[jane,],
            decision_id=decision_id,
            time=1.0,
            instance_id="i",
            plan=None,
            revision="1.1",
            head=HEAD,
            phase="authz",
            status=0,
            identity=jane,
        )
        pass_reply(decision_id, "1.1", jane)
        content_reply(decision_id, "1.1", "203.0.113.7", jane)
    after = sys.getrefcount(jane), sys.getrefcount(subject)
    assert (after > before) is is_kept


def test_a_worker_keeps_no_long_tenants_of_spans() -> None:
    tenant = secrets.token_hex(3_000)
    before = sys.getrefcount(tenant)
    decision = allow()
    said = attributes_of("1.1", decision.cause.value, action_name(decision.action), tenant)
    spans = DecisionSpans(
        name="x", parent=NO_PARENT, marks=(("authz", 1, 2),), decision_id="d", attributes=said
    )
    assert tenant.encode() in encode([spans])
    del said, spans
    assert sys.getrefcount(tenant) == before
