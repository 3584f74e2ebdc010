"""Small files of the state folder survive a crash in the middle of their writing, and a full disk."""

from __future__ import annotations

from pathlib import Path

from control_plane.state_files import replica_name, write_ca


def test_a_replica_has_a_name_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    name = replica_name(tmp_path)
    assert name.startswith("replica-")
    assert replica_name(tmp_path) == name


def test_a_replica_whose_name_was_cut_short_by_a_crash_gets_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "replica").write_text("")
    name = replica_name(tmp_path)
    assert name.startswith("replica-")
    assert replica_name(tmp_path) == name


def test_a_ca_file_that_can_not_be_written_ends_nothing_and_leaves_the_old_one(tmp_path: Path) -> None:
    """The control plane of a full disk serves on, with a certificate that it renews every twelve hours."""
    write_ca(tmp_path, ["old"])
    (tmp_path / "ca.partial").mkdir()
    write_ca(tmp_path, ["new"])
    assert (tmp_path / "ca.pem").read_text() == "old"
