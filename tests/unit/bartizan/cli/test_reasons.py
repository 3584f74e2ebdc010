"""Every reason why a policy is not enforced is said in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bartizan.api.policies import INCAPABLE
from bartizan.cli.reasons import REASONS, meaning

ROOT = Path(__file__).resolve().parents[4]


def test_every_reason_of_the_ledger_has_words() -> None:
    text = "".join((ROOT / f"control_plane/fleet/{name}.py").read_text() for name in ("proof", "ledger"))
    given = set(
        re.findall(r'(?:"(?:pending|stale|unreachable)", f?|reason=| else )"([a-z]+_[a-z_]*)', text)
    ) | {INCAPABLE}
    assert {"probe_", "lease_expired", "newer_key_set", "other_version"} <= given
    assert [reason for reason in given if not meaning(reason)] == []


def test_the_page_for_operations_has_them_all() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    assert [beginning for beginning in REASONS if f"`{beginning}" not in page] == []


@pytest.mark.parametrize(
    ("reason", "part"),
    [("incapable: waf", "upgrade"), ("probe_no_connection", "15020"), ("file_missing", ""), ("", "")],
)
def test_a_reason_is_known_by_its_beginning(reason: str, part: str) -> None:
    assert part in meaning(reason)
    assert bool(part) == bool(meaning(reason))
