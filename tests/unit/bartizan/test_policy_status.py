"""What an answer about a policy's status means, whichever release of the control plane gave it."""

from __future__ import annotations

import msgspec
import pytest

from bartizan.api import INCAPABLE, PolicyStatus

ONE = {"instance_id": "i", "spiffe_id": "spiffe://test/ns/n/sa/p", "version": 1, "revision": 1}


@pytest.mark.parametrize(
    ("said", "state", "reason", "settled"),
    [
        ({}, "pending", "not_reported_yet", False),
        ({}, "pending", f"{INCAPABLE}images", True),
        ({}, "refused", "file_missing", True),
        ({}, "lost", "lease_expired", True),
        ({"unsettled_count": 1}, "enforced", "", False),
        ({"unsettled_count": 0}, "enforced", "", True),
    ],
)
def test_a_status_is_settled_when_nothing_is_pending_also_where_an_older_control_plane_does_not_count_it(
    said: dict[str, int], state: str, reason: str, settled: bool
) -> None:
    row = {**ONE, "state": state, "reason": reason}
    answer = {"name": "n/p", "revision": 1, "version": 1, "enforced_count": 0, "total": 2, "instances": [row]}
    assert msgspec.convert({**answer, **said}, PolicyStatus).settled is settled
