"""Decision ids are 128-bit, hex, and never given twice."""

from __future__ import annotations

import re

from sidecar.wire.decision_ids import decision_ids


def test_no_id_is_given_twice_also_by_two_of_them() -> None:
    one, other = decision_ids().__next__, decision_ids().__next__
    drawn = [new() for _ in range(1000) for new in (one, other)]
    assert len(set(drawn)) == len(drawn)
    assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in drawn)
