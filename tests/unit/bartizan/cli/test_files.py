"""Files named on the command line: one that can't be used ends the command with 2, its name and the reason, and nothing is lost."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from bartizan.cli.root import cli
from bartizan.errors import InvalidInput
from bartizan.local.private_file import private_file


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BARTIZAN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "broken").write_text("class: [\n")
    (tmp_path / "list").write_text("- 1\n")
    (tmp_path / "prompts").write_text('{"text": "hello"}\n')
    (tmp_path / "policy").write_text("kind: ModelPolicy\n")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["policy", "validate", "binary"], "UTF-8"),
        (["policy", "apply", "binary"], "binary: not UTF-8 at byte 0"),
        (["secrets", "put", "x", "binary"], "binary: not UTF-8 at byte 0"),
        (["secrets", "put", "x", "broken"], "broken: line 2, column 1"),
        (["secrets", "put", "x", "list"], "list: expected fields"),
        (["inject", "-f", "missing", "--image", f"x@sha256:{'a' * 64}"], "missing: No such file"),
        (["keys", "issue", "set", "--tenant", "t", "--out", "missing/key"], "missing/key: No such file"),
        (["keys", "issue", "set", "--tenant", "t", "--out", "home/.."], "home/.."),
        (["scan", "prompts", "--report", "missing/report.html"], "missing/report.html can't be written"),
        (["join-token", "spiffe://x/ns/a/sa/b", "--label", "app"], "'app' is not KEY=VALUE"),
        (
            ["--url", "https://127.0.0.1:1", "--ca", "list", "--token-file", "binary", "status"],
            "binary: holds no token",
        ),
        (
            ["up", "--model", "http://127.0.0.1:1", "--policy", "missing"],
            "missing can't be read: No such file",
        ),
        (["up", "--model", "http://127.0.0.1:1", "--policy", "binary"], "not UTF-8"),
        (
            ["up", "--model", "http://127.0.0.1:1", "--policy", "policy", "--secret", "x"],
            "'x' is not NAME=FILE",
        ),
    ],
)
def test_what_can_t_be_used_is_named_with_the_reason(place: Path, words: list[str], named: str) -> None:
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 2, result.output
    assert named in result.stderr
    assert "Traceback" not in result.stderr


def test_a_private_file_takes_its_place_only_when_all_went_well(tmp_path: Path) -> None:
    key = tmp_path / "key.txt"
    key.write_text("old")
    key.chmod(0o644)
    with pytest.raises(ZeroDivisionError), private_file(key) as file:
        file.write("half")
        raise ZeroDivisionError
    assert (key.read_text(), [each.name for each in tmp_path.iterdir()]) == ("old", ["key.txt"])
    with private_file(key) as file:
        file.write("new")
    assert (key.read_text(), key.stat().st_mode & 0o777) == ("new", 0o600)


def test_a_link_stays_and_what_it_names_gets_the_new_key(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    key, link = tmp_path / "kept" / "key.txt", tmp_path / "link"
    key.write_text("old")
    link.symlink_to(key)
    with private_file(link) as file:
        file.write("new")
    assert link.is_symlink()
    assert (key.read_text(), key.stat().st_mode & 0o777) == ("new", 0o600)
    assert [each.name for each in key.parent.iterdir()] == ["key.txt"]


def test_a_fifo_stays_and_its_reader_gets_the_key(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with private_file(fifo) as file:
            file.write("new")
        assert fifo.is_fifo()
        assert os.read(reader, 16) == b"new"
    finally:
        os.close(reader)


def test_what_can_t_be_opened_is_refused_before_anything_is_asked_for(tmp_path: Path) -> None:
    loop, listening = tmp_path / "loop", tmp_path / "socket"
    loop.symlink_to(loop)
    asked = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(listening))
        for path in (loop, listening):
            with pytest.raises(InvalidInput, match="can't be written"), private_file(path):
                asked.append("a key")
    assert not asked
    assert listening.is_socket()
    assert loop.is_symlink()


def test_what_has_no_place_is_refused_before_anything_is_asked_for(tmp_path: Path) -> None:
    asked = []
    with pytest.raises(InvalidInput), private_file(tmp_path / "missing" / "key.txt"):
        asked.append("a key")
    with pytest.raises(InvalidInput), private_file(tmp_path):
        asked.append("a key")
    assert not asked
