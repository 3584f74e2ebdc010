"""Asks libmodsecurity about requests, in a child process that is started again when it dies or hangs.

The only adapter to it. `judge` blocks: the wire calls it in a thread. No answer in time is a fault, and so a refusal.
"""

from __future__ import annotations

import importlib.util
import os
import select
import subprocess
import sys
import threading
import time
import weakref

import msgspec

from bartizan.errors import BartizanError, ResourceRejected
from sidecar.checks.waf import ruleset
from sidecar.checks.waf.messages import LENGTH, MOST, Answer, Configure, Question, Ready

SECONDS = 1.0
"""For one answer, other requests before it included: Envoy waits two seconds for the guard."""
_START_SECONDS = 20.0


class FirewallFailed(BartizanError):
    """The child gave no answer."""


def available() -> bool:
    """Whether this installation has the library and rules."""
    return importlib.util.find_spec("libmodsecurity") is not None and ruleset.find() is not None


class Firewall:
    """One set of rules and its child."""

    def __init__(self, paranoia: int) -> None:
        """Raises ResourceRejected when the library or the rules are missing or can't be used."""
        folder = ruleset.find()
        if folder is None:
            message = f"no rules: install Debian's modsecurity-crs or set {ruleset.SETTING}"
            raise ResourceRejected(f"the web application firewall has {message}", "spec.waf.crs")
        self._configure = Configure(folder=str(folder), paranoia=paranoia)
        self._lock = threading.Lock()
        self._child = _Child(self._configure)
        self.rules = self._child.rules

    def judge(self, question: Question) -> Answer:
        """Raises FirewallFailed when there is no answer in time; the next question meets a new child."""
        deadline = time.monotonic() + SECONDS
        if not self._lock.acquire(timeout=SECONDS):
            raise FirewallFailed("the firewall is overloaded")
        try:
            if not self._child.alive:
                self._child = _Child(self._configure)
            return self._child.ask(question, deadline)
        except (OSError, ResourceRejected) as error:
            raise FirewallFailed("the firewall died") from error
        finally:
            self._lock.release()


class _Child:
    """One process."""

    def __init__(self, configure: Configure) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sidecar.checks.waf.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={
                name: os.environ[name]
                for name in ("PATH", "LANG", "TMPDIR", "PYTHONPATH")
                if name in os.environ
            },
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._stdin, False)
        deadline = time.monotonic() + _START_SECONDS
        self._ended = weakref.finalize(self, _end, self._process)
        try:
            self._send(configure, deadline)
            ready = msgspec.msgpack.decode(self._receive(deadline), type=Ready)
        except (OSError, FirewallFailed, msgspec.MsgspecError) as error:
            self._ended()
            raise ResourceRejected("the web application firewall did not start", "spec.waf.crs") from error
        if ready.error:
            self._ended()
            raise ResourceRejected(f"the web application firewall: {ready.error}", "spec.waf.crs")
        self.rules = ready.rules

    @property
    def alive(self) -> bool:
        return self._ended.alive and self._process.poll() is None

    def ask(self, question: Question, deadline: float) -> Answer:
        try:
            self._send(question, deadline)
            return msgspec.msgpack.decode(self._receive(deadline), type=Answer)
        except (OSError, FirewallFailed, msgspec.MsgspecError) as error:
            self._ended()  # an answer that came late would be taken for the next question's
            raise FirewallFailed("no answer") from error

    def _send(self, message: msgspec.Struct, deadline: float) -> None:
        data = msgspec.msgpack.encode(message)
        rest = memoryview(LENGTH.pack(len(data)) + data)
        while rest:
            _wait(self._stdin, select.POLLOUT, deadline)
            rest = rest[os.write(self._stdin, rest) :]

    def _receive(self, deadline: float) -> bytes:
        (size,) = LENGTH.unpack(self._exactly(LENGTH.size, deadline))
        if size > MOST:
            raise FirewallFailed("an answer without end")
        return self._exactly(size, deadline)

    def _exactly(self, size: int, deadline: float) -> bytes:
        out = b""
        while len(out) < size:
            _wait(self._stdout, select.POLLIN, deadline)
            piece = os.read(self._stdout, size - len(out))
            if not piece:
                raise FirewallFailed("the firewall ended")
            out += piece
        return out


def _wait(descriptor: int, event: int, deadline: float) -> None:
    waiting = select.poll()
    waiting.register(descriptor, event)
    if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise FirewallFailed("no answer in time")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
