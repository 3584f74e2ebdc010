"""One guard worker process: started by exec with two inherited socket pairs, pinged, killed when it hangs (silence.py).

workers.py keeps a pool of these alive and tells them what to load.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bartizan import tasks
from bartizan.errors import ProcessFailed, ProtocolViolation
from bartizan.telemetry.logging import get_logger
from sidecar import allocator
from sidecar.agent.channel import Channel
from sidecar.agent.messages import (
    AgentMessage,
    AuditBatch,
    HandedIn,
    KeysSet,
    Listening,
    Load,
    Loaded,
    Ping,
    Pong,
    SpanBatch,
    WorkerMessage,
)
from sidecar.agent.scheduling import scheduling
from sidecar.agent.silence import Silence

PING_EVERY = 0.5
HUNG_AFTER = 2.0
"""Seconds of its own, with a processor, in which a worker did not answer."""
# importing gRPC and building rule sets may hold the loop for a while on a small machine
START_WITHIN = 30.0
LOAD_WITHIN = 15.0
OUTGOING = 1024
REAP_WITHIN = 0.2

log = get_logger()


class Worker:
    """What is known of one running worker. `on_change` rings after every message that changed something."""

    def __init__(
        self,
        index: int,
        guard_socket: Path,
        environment: Mapping[str, str],
        on_change: Callable[[], None],
        on_audit: Callable[[tuple[bytes, ...]], None],
        on_spans: Callable[[bytes], None],
    ) -> None:
        self.index = index
        self.loaded: dict[str, Loaded] = {}
        self.key_sets: dict[str, int] = {}
        self.metrics: dict[str, float] = {}
        self._socket = guard_socket
        self._environment = environment
        self._on_change = on_change
        self._on_audit = on_audit
        self._on_spans = on_spans
        self._loading = 0
        self._sequence = 0
        self._answered = 0
        self._silence = Silence(PING_EVERY, time.monotonic())
        self._greeted = False
        self._started = False
        self._listening = False
        self._handed_in = False
        self._outgoing: asyncio.Queue[AgentMessage] = asyncio.Queue(OUTGOING)
        self._process: asyncio.subprocess.Process | None = None
        self._heard_out = asyncio.Event()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def listening(self) -> bool:
        """Whether Envoy's calls reach it."""
        return self._listening and self._started

    @property
    def may_owe(self) -> bool:
        """Whether it may have records that nobody got: Envoy's calls have reached it, and it has not said that it is done."""
        return self._listening and not self._handed_in

    def terminate(self) -> None:
        """Ask it to finish what runs, to hand in its records and to end."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    def tell(self, message: AgentMessage) -> None:
        """Queue a message. Before it has started, or when it does not read, nothing happens: the whole state is what a
        worker is told first, and one that does not read is killed by the watchdog.
        """
        if not self._started:
            return
        if isinstance(message, Load):
            self._loading += 1
            self._silence.heard(time.monotonic())
        try:
            self._outgoing.put_nowait(message)
        except asyncio.QueueFull:
            log.error("worker_does_not_read", worker=self.index, pid=self.pid)

    async def run(self, state: Callable[[], list[AgentMessage]]) -> None:
        """Start it, tell it the whole state, serve its channel. Raises ProcessFailed when it ended, for whatever reason."""
        mine, theirs = socket.socketpair()
        my_audit, their_audit = socket.socketpair()
        channel, audit = Channel.agent_side(mine), Channel.agent_side(my_audit)
        try:
            with theirs, their_audit:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    # positions of columns in tracebacks: half a megabyte
                    "-X",
                    "no_debug_ranges",
                    "-m",
                    "sidecar.worker",
                    stdin=asyncio.subprocess.DEVNULL,
                    # a terminal's Ctrl-C is for the agent; a worker ends with its channel
                    start_new_session=True,
                    pass_fds=(theirs.fileno(), their_audit.fileno()),
                    env={
                        **allocator.ENVIRONMENT,
                        **self._environment,
                        "BARTIZAN_CHANNEL_FD": str(theirs.fileno()),
                        "BARTIZAN_AUDIT_FD": str(their_audit.fileno()),
                        "BARTIZAN_GUARD_SOCKET": str(self._socket),
                    },
                )
            self._process, self._started = process, True
            self._silence.heard(time.monotonic())
            # no await between: what changes from here on is told after the state
            for message in state():
                self.tell(message)
            await self._serve(process, channel, audit)
        finally:
            await self._end()
            channel.close()
            audit.close()

    async def _serve(
        self,
        process: asyncio.subprocess.Process,
        channel: Channel[AgentMessage, WorkerMessage],
        audit: Channel[AgentMessage, WorkerMessage],
    ) -> None:
        failure = None
        try:
            async with tasks.Group() as group:
                group.create_task(self._exit(process), name=f"worker-{self.index}-exit")
                group.create_task(self._read(channel), name=f"worker-{self.index}-read")
                group.create_task(self._read_audit(audit), name=f"worker-{self.index}-audit")
                group.create_task(self._write(channel), name=f"worker-{self.index}-write")
                group.create_task(self._ping(process.pid), name=f"worker-{self.index}-ping")
        except* (ProcessFailed, ProtocolViolation, ConnectionError) as failed:
            failure = failed
        # Not inside `except*`: up to Python 3.11.3 what is raised there comes out in a group of its own.
        if failure is not None:
            raise ProcessFailed(f"guard worker {self.index}: {failure.exceptions[0]}") from failure

    async def _exit(self, process: asyncio.subprocess.Process) -> None:
        status = await process.wait()
        with contextlib.suppress(TimeoutError):
            async with tasks.timeout(REAP_WITHIN):
                await self._heard_out.wait()
        raise ProcessFailed(f"ended with status {status}")

    async def _read(self, channel: Channel[AgentMessage, WorkerMessage]) -> None:
        while (message := await channel.receive()) is not None:
            self._silence.heard(time.monotonic())
            match message:
                case Pong(sequence=sequence, metrics=metrics):
                    self._answered = sequence
                    self.metrics = metrics
                    self._greeted = True
                    continue
                case Loaded():
                    self._loading = max(0, self._loading - 1)
                    self.loaded[message.plan_id] = message
                case KeysSet(name=name, version=version):
                    self.key_sets[name] = version
                case Listening():
                    self._listening = True
                case AuditBatch() | HandedIn() | SpanBatch():
                    raise ProtocolViolation("records and spans come on the second pair")
            self._on_change()
        await asyncio.sleep(REAP_WITHIN)
        raise ProcessFailed("closed its channel")

    async def _read_audit(self, audit: Channel[AgentMessage, WorkerMessage]) -> None:
        while (message := await audit.receive()) is not None:
            match message:
                case AuditBatch(records=records):
                    self._on_audit(records)
                case HandedIn():
                    self._handed_in = True
                case SpanBatch(request=request):
                    self._on_spans(request)
                case _:
                    raise ProtocolViolation("no more than records and spans comes on the second pair")
        # An ending worker closes it: what it sent last is taken, and how it ended is the better reason to give.
        self._heard_out.set()
        await asyncio.sleep(REAP_WITHIN)
        raise ProcessFailed("closed its audit channel")

    async def _write(self, channel: Channel[AgentMessage, WorkerMessage]) -> None:
        while True:
            await channel.send(await self._outgoing.get())

    async def _ping(self, pid: int) -> None:
        while True:
            self._sequence += 1
            if self._outgoing.empty():
                self.tell(Ping(sequence=self._sequence))
            await asyncio.sleep(PING_EVERY)
            if self._answered == self._sequence:
                # owes nothing, so its silence begins with the next ping; what the kernel knows is not read in vain
                self._silence.heard(time.monotonic())
                continue
            limit = HUNG_AFTER if self._greeted else START_WITHIN
            if self._loading:
                limit = max(limit, LOAD_WITHIN)
            self._silence.look(time.monotonic(), scheduling(pid))
            if self._silence.longer_than(limit):
                log.error("worker_hung", worker=self.index, pid=pid)
                raise ProcessFailed(f"did not answer for {limit:g} s")

    async def _end(self) -> None:
        """Kill it when it still runs: state lives with the agent, so there is nothing to save."""
        process, self._process, self._started = self._process, None, False
        if process is None or process.returncode is not None:
            return
        # a dead one is reaped here first: Popen.kill would take its status away from the event loop
        with contextlib.suppress(TimeoutError):
            async with tasks.timeout(REAP_WITHIN):
                await process.wait()
                return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        # also when this task is being cancelled: never leave a child behind
        await asyncio.shield(process.wait())
