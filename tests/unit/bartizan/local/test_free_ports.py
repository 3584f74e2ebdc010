"""A port that is chosen before its server starts must still be free then."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys

import pytest

from bartizan.errors import ProcessFailed
from bartizan.local import processes
from bartizan.local.processes import PORTS, free_port


def test_no_port_is_one_that_linux_gives_to_connections() -> None:
    assert PORTS[-1] < 32_768, "where ip_local_port_range begins, unless somebody changed it"


def test_no_port_is_given_twice_although_nobody_listens_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_turns", itertools.count())  # other tests' turns go on where they are
    given = [free_port() for _ in range(300)]
    assert len(set(given)) == len(given)


def test_a_port_that_is_taken_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port()))
        taken = server.getsockname()[1]
        monkeypatch.setattr(processes, "_turns", itertools.count(taken - PORTS[0]))
        assert free_port() != taken


def test_a_port_that_another_process_was_given_is_not_given_although_nobody_listens_yet() -> None:
    other = (
        "import itertools, sys; from bartizan.local import processes;"
        "processes._turns = itertools.count(int(sys.argv[1])); print(processes.free_port())"
    )
    given = free_port()
    command = [sys.executable, "-c", other, str(given - PORTS[0])]
    assert int(subprocess.run(command, capture_output=True, check=True).stdout) != given


def test_none_that_is_free_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "port_is_free", lambda _: False)
    with pytest.raises(ProcessFailed, match="no TCP port"):
        free_port()
