"""`bartizan audit`: what was not seen is not shown as if it had been."""

from __future__ import annotations

import pytest

from bartizan.cli.audit import row


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        ({"type": "decision", "action": "allow", "cause": "allowed", "status": 0}, ("allow", "allowed", "-")),
        (
            {"type": "decision", "action": "deny", "cause": "forbidden", "status": 403},
            ("deny", "forbidden", 403),
        ),
        ({"type": "gap", "reason": "queue_full", "lost": 3}, ("gap", "queue_full", "-")),
    ],
)
def test_a_status_that_nobody_saw_is_a_dash(record: dict[str, object], shown: tuple[object, ...]) -> None:
    assert row(record)[3:6] == shown


@pytest.mark.parametrize(
    ("direction", "shown"),
    [("request", "request pii:email"), ("response", "response pii:email"), ("", "pii:email")],
)
def test_a_finding_says_which_body_it_is_of(direction: str, shown: str) -> None:
    finding = {"check": "pii", "kind": "email", "direction": direction}
    assert row({"type": "decision", "findings": [finding]})[6] == shown
