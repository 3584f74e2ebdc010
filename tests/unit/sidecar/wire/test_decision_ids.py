"""Decision ids are 128-bit, hex, and never given twice."""

from __future__ import annotations

import os
import re

import pytest

from sidecar.wire.decision_ids import DecisionIds


def test_no_id_is_given_twice_also_by_two_of_them() -> None:
    one, other = DecisionIds(), DecisionIds()
    drawn = [new() for _ in range(1000) for new in (one, other)]
    assert len(set(drawn)) == len(drawn)
    assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in drawn)


def test_ids_are_drawn_again_after_the_system_gave_none_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(_size: int) -> bytes:
        raise MemoryError

    new = DecisionIds()
    with monkeypatch.context() as failing:
        failing.setattr(os, "urandom", nothing)
        with pytest.raises(MemoryError):
            new()
    assert new() != new()
