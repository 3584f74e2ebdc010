"""A child process that a check asks about hostile input: started again when it dies, killed when it is late.

Shared by the firewall, the image check and classifiers. `ask` blocks: the wire calls it in a thread. No answer in time is a fault,
and so a refusal; the next question meets a new child.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from bartizan.errors import BartizanError, ResourceRejected
from bartizan.telemetry.logging import get_logger
from bartizan.telemetry.metrics import CHECK_CHILD_FAULTS
from sidecar.checks.child.messages import LENGTH, Part, Ready

MOST_WAITING = 16
"""Questions that wait for one child; more are refused at once, so that threads don't pile up behind a slow one."""
_START_SECONDS = 20.0
_PASSED_ON = ("PATH", "LANG", "TMPDIR", "PYTHONPATH")
log = get_logger()
Answer = TypeVar("Answer", bound=Part)


class ChildFailed(BartizanError):
    """The child gave no answer: it died, was late, or too many wait for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Which child: the module that it runs, what people and metrics call it, the policy's field that wants it."""

    module: str
    title: str
    name: str
    field: str
    seconds: float
    """For one answer, other questions before it included."""
    most: int
    """Bytes of the longest answer."""


class AskedProcess:
    """One child of a kind, told `first` whenever it starts. Lives until this object is gone."""

    def __init__(self, kind: Kind, first: Part) -> None:
        self._kind = kind
        self._first = first
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(MOST_WAITING)
        self._child: _Child | None = None

    @classmethod
    def shared(cls, kind: Kind, first: Part) -> AskedProcess:
        """The one that has been told the same, while somebody holds it: a new revision loads no large model again."""
        with _SHARING:
            process = _SHARED.get((kind, first))
            if process is None:
                process = _SHARED[kind, first] = cls(kind, first)
            return process

    def start(self) -> None:
        """Start it now. Raises ResourceRejected with the reason when it can't do its work."""
        with self._lock:
            if self._child is None or not self._child.alive:
                self._child = _Child(self._kind, self._first)

    def ask(self, question: Part, answer: type[Answer], deadline: float | None = None) -> Answer:
        """`deadline` of time.monotonic, where the kind's own seconds are not meant. Raises ChildFailed."""
        deadline = time.monotonic() + self._kind.seconds if deadline is None else deadline
        if not self._places.acquire(blocking=False):
            raise self._failed("overloaded")
        try:
            if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
                raise self._failed("overloaded")
            try:
                return self._ask(question, answer, deadline)
            finally:
                self._lock.release()
        finally:
            self._places.release()

    def _ask(self, question: Part, answer: type[Answer], deadline: float) -> Answer:
        try:
            if self._child is None or not self._child.alive:
                self._child = _Child(self._kind, self._first)
            if (
                time.monotonic() > deadline
            ):  # a slow start's own question: the next one shall find the child alive
                raise self._failed("late")
            return self._child.ask(question, answer, deadline)
        except TimeoutError as error:
            raise self._failed("late") from error
        except (OSError, EOFError, msgspec.MsgspecError, ResourceRejected) as error:
            raise self._failed("died") from error

    def _failed(self, reason: str) -> ChildFailed:
        CHECK_CHILD_FAULTS.labels(self._kind.name, reason).inc()
        log.warning("check_child_failed", child=self._kind.name, reason=reason)
        return ChildFailed(f"{self._kind.title}: {reason}")


_SHARED: weakref.WeakValueDictionary[tuple[Kind, Part], AskedProcess] = weakref.WeakValueDictionary()
_SHARING = threading.Lock()


class _Child:
    """One process."""

    def __init__(self, kind: Kind, first: Part) -> None:
        self._most = kind.most
        self._process = subprocess.Popen(
            [sys.executable, "-m", kind.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._stdin, False)
        self._held = weakref.finalize(self, _let_go, self._process)
        try:
            ready = self.ask(first, Ready, time.monotonic() + _START_SECONDS)
        except (OSError, EOFError, msgspec.MsgspecError) as error:
            raise ResourceRejected(f"{kind.title} did not start", kind.field) from error
        if ready.error:
            self._end()
            raise ResourceRejected(f"{kind.title}: {ready.error}", kind.field)

    @property
    def alive(self) -> bool:
        return self._held.alive and self._process.poll() is None

    def ask(self, question: Part, answer: type[Answer], deadline: float) -> Answer:
        """Raises TimeoutError, OSError, EOFError or MsgspecError, and the child is ended."""
        try:
            self._send(question, deadline)
            return msgspec.msgpack.decode(self._receive(deadline), type=answer)
        except BaseException:
            self._end()  # an answer that came late would be taken for the next question's
            raise

    def _end(self) -> None:
        """It is gone before another one takes its place."""
        if self._held.detach() is not None:
            _kill(self._process)
            self._process.wait()

    def _send(self, message: Part, deadline: float) -> None:
        data = msgspec.msgpack.encode(message)
        for piece in (LENGTH.pack(len(data)), data):
            rest = memoryview(piece)
            while rest:
                _wait(self._stdin, select.POLLOUT, deadline)
                rest = rest[os.write(self._stdin, rest) :]

    def _receive(self, deadline: float) -> bytes:
        (size,) = LENGTH.unpack(self._exactly(LENGTH.size, deadline))
        if size > self._most:
            raise EOFError("an answer without end")
        return self._exactly(size, deadline)

    def _exactly(self, size: int, deadline: float) -> bytes:
        pieces: list[bytes] = []
        while size:
            _wait(self._stdout, select.POLLIN, deadline)
            piece = os.read(self._stdout, size)
            if not piece:
                raise EOFError("the child ended")
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)


def _wait(descriptor: int, event: int, deadline: float) -> None:
    waiting = select.poll()
    waiting.register(descriptor, event)
    if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError


def _let_go(process: subprocess.Popen[bytes]) -> None:
    """Nobody waits here until it is gone: with a large model that takes long, and the last plan or request that held it
    may be let go of on the worker's loop.
    """
    _kill(process)
    try:
        threading.Thread(target=process.wait, name="ended-child", daemon=True).start()
    except RuntimeError:  # the interpreter ends, and takes no new thread
        process.wait()


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
