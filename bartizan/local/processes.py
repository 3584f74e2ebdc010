"""Child processes of a laptop run: started in their own session, logged to files, ended by their own pid."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import itertools
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bartizan import tasks
from bartizan.errors import ProcessFailed

LAUNCH = Path(__file__).with_name("launch.py")
# Below 32768, from where Linux gives ports to every connection and server that names none: one of those could be
# given away between our choice and its server's start, or while that server is started again.
PORTS = range(20_000, 30_000)
# Each process gives every port once. Those with neighbouring pids begin so far from each other (the golden section of
# all ports) that none comes to where another's servers are while one of them is started again.
_turns = itertools.count(os.getpid() * 6_180)


@dataclass(slots=True)
class Child:
    """One running process."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    async def stop(self, grace: float = 10.0) -> None:
        """SIGTERM, then SIGKILL after `grace` seconds. A stopped (SIGSTOP) process is continued first."""
        if not self.running:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        try:
            async with tasks.timeout(grace):
                await self.process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def tail(self, lines: int = 20) -> str:
        """The end of its log, for error messages."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    def check(self) -> None:
        """Raises ProcessFailed with the log's end when it is no longer running."""
        if not self.running:
            raise ProcessFailed(
                f"{self.name} ended with status {self.process.returncode}; {self.log}:\n{self.tail()}"
            )


async def start(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Child:
    """Start a process with its output in `log`, that ends when we end. It gets `env` added to a minimal environment."""
    log.parent.mkdir(parents=True, exist_ok=True)
    base = {
        key: os.environ[key]
        for key in ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "TMPDIR")
        if key in os.environ
    }
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-SE",
            str(LAUNCH),
            str(os.getpid()),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            env={**base, **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
    return Child(name=name, process=process, log=log)


def free_port() -> int:
    """A loopback TCP port that is free now, and that this process has not given before, nor another one that lives.
    Raises ProcessFailed.
    """
    for turn in itertools.islice(_turns, len(PORTS)):
        if port_is_free(port := PORTS[turn % len(PORTS)]) and _is_ours(port):
            return port
    raise ProcessFailed(f"no TCP port from {PORTS[0]} to {PORTS[-1]} is free")


def _is_ours(port: int) -> bool:
    """Take it in the book of this machine's user: until its server listens, or while that is started again, the port
    looks free to everybody. The kernel gives back what a process took when it ends.
    """
    try:
        fcntl.lockf(_book(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a machine on which no such book can be kept
    return True


@functools.cache
def _book() -> int:
    file = Path(tempfile.gettempdir()) / f"bartizan-ports-{os.getuid()}"
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def port_is_free(port: int) -> bool:
    """Whether this loopback TCP port can be listened on now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def still_running(pid_file: Path, mark: str) -> int | None:
    """The pid in the file, if that process lives and has `mark` in its command line (pids are used again)."""
    try:
        pid = int(pid_file.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except (OSError, ValueError):
        return None
    return pid if mark in command else None
