"""A file is read when it may hold something else, and only then; nothing that is written to it stays unseen."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sidecar.agent.followed_file import SURE_SECONDS, FollowedFile


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "keys.json"
    made.write_bytes(b"one")
    os.utime(made, (1, 1))
    return made


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    seen: list[Path] = []
    read = Path.read_bytes

    def counted(path: Path) -> bytes:
        seen.append(path)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    return seen


def in_place(file: Path) -> None:
    file.write_bytes(b"two")


def renamed_over(file: Path) -> None:
    other = file.with_suffix(".new")
    other.write_bytes(b"two")
    before = file.stat()
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(file)


def with_its_old_time(file: Path) -> None:
    before = file.stat()
    while file.stat().st_ctime_ns == before.st_ctime_ns:  # until the next tick of the file system's clock
        file.write_bytes(b"two")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def by_a_link_of_kubernetes(file: Path) -> None:
    folder = file.with_suffix(".d")
    folder.mkdir()
    (folder / "x").write_bytes(b"two")
    file.unlink()
    file.symlink_to(folder / "x")


def test_a_file_that_stays_as_it_is_is_read_once_in_a_while(
    file: Path, clock: Clock, reads: list[Path]
) -> None:
    followed = FollowedFile(file, clock)
    assert followed.changed() == b"one"
    for _ in range(24):
        clock.now += 0.2
        assert followed.changed() is None
    assert len(reads) == 1
    clock.now += 0.2
    assert followed.changed() is None
    assert len(reads) == 2


@pytest.mark.parametrize("write", [in_place, renamed_over, with_its_old_time, by_a_link_of_kubernetes])
def test_every_way_to_write_shows_at_the_next_look(
    file: Path, clock: Clock, write: Callable[[Path], None]
) -> None:
    followed = FollowedFile(file, clock)
    followed.changed()
    clock.now += 0.2
    write(file)
    assert followed.changed() == b"two"
    assert (followed.changed(), followed.content) == (None, b"two")


def test_a_write_of_which_the_system_says_nothing_shows_after_a_while(
    file: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = FollowedFile(file, clock)
    followed.changed()
    said = file.stat()
    file.write_bytes(b"two")
    monkeypatch.setattr(Path, "stat", lambda *_arguments, **_more: said)
    assert followed.changed() is None
    clock.now += SURE_SECONDS
    assert followed.changed() == b"two"


def test_a_file_that_is_gone_is_told_once_and_read_when_it_is_back(file: Path, clock: Clock) -> None:
    followed = FollowedFile(file, clock)
    followed.changed()
    for _ in range(2):
        file.unlink()
        with capture_logs() as logs:
            assert [followed.changed() for _ in range(3)] == [None] * 3
        assert [(one["event"], one["reason"]) for one in logs] == [
            ("file_unreadable", "No such file or directory")
        ]
        file.write_bytes(b"one")
        assert followed.changed() is None, "the same as before"
    file.write_bytes(b"back")
    assert followed.changed() == b"back"
