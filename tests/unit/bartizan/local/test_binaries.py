"""A program that somebody named is taken or refused; another one is never run in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from bartizan.errors import NotFound
from bartizan.local.binaries import find_binary


def test_a_named_program_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_binary("envoy")
    monkeypatch.setenv("BARTIZAN_ENVOY", str(tmp_path / "envoy"))
    with pytest.raises(NotFound, match="BARTIZAN_ENVOY"):
        find_binary("envoy")
    with pytest.raises(NotFound, match="other"):
        find_binary("bao", tmp_path / "other")


def test_the_explicit_path_wins_over_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = tmp_path / "ours"
    ours.touch(mode=0o700)
    monkeypatch.setenv("BARTIZAN_BAO", str(tmp_path / "other"))
    assert find_binary("bao", ours) == ours
