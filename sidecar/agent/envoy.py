"""Envoy as a child process: started with the agent's bootstrap, started again when it dies or hangs, drained at the end.

A restarted Envoy finds everything in the agent's memory, whether or not a control plane is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from bartizan import tasks
from bartizan.errors import DependencyUnavailable
from bartizan.telemetry import metrics
from bartizan.telemetry.logging import get_logger
from sidecar.agent.admin import EnvoyAdmin
from sidecar.agent.bootstrap import envoy_command
from sidecar.agent.scheduling import scheduling, started
from sidecar.agent.sealed import write_atomically
from sidecar.agent.silence import Silence
from sidecar.agent.supervisor import Restarts

HUNG_AFTER = 6.0
"""Seconds in which Envoy's main thread did not answer although it and this process had a processor."""
START_WITHIN = 30.0
ORPHAN_ENDS_WITHIN = 5.0
"""So long may a predecessor's Envoy take to end when asked, before it is killed."""
_LOOKED_EVERY = 1.5
"""About so often is an Envoy looked at that does not answer: a question waits up to 2 s, and then the monitor a while."""

log = get_logger()


class EnvoyProcess:
    """`on_new` is called before every start: nothing that an earlier process said holds any more. `on_orphan`: a
    predecessor's Envoy was found and ended.
    """

    def __init__(
        self,
        *,
        binary: Path,
        bootstrap: str,
        run_dir: Path,
        environment: Mapping[str, str],
        drain_seconds: float,
        log_level: str,
        admin: EnvoyAdmin,
        on_new: Callable[[], None],
        on_orphan: Callable[[], None],
    ) -> None:
        self._binary = binary
        self._bootstrap = bootstrap
        self._run_dir = run_dir
        self._environment = environment
        self._drain_seconds = drain_seconds
        self._log_level = log_level
        self._admin = admin
        self._on_new = on_new
        self._on_orphan = on_orphan
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._silence = Silence(_LOOKED_EVERY, time.monotonic())
        self._greeted = False
        """Whether this process has ever answered."""
        self.ready = False

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def run(self) -> None:
        """Until `stop` was called."""
        await self._end_orphan()
        file = self._run_dir / "envoy.json"
        write_atomically(file, self._bootstrap.encode())
        command = envoy_command(
            self._binary,
            file,
            drain_seconds=max(1, round(self._drain_seconds)),
            log_level="info" if self._log_level == "debug" else "warning",
        )
        restarts = Restarts()
        while True:
            self._on_new()
            self.ready = False
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                env=dict(self._environment),
                # a terminal's Ctrl-C is for the agent, which drains Envoy first
                start_new_session=True,
            )
            self._process, self._greeted = process, False
            self._silence.heard(time.monotonic())
            try:
                status = await process.wait()
            finally:
                self._kill()
                self.ready = False
            if self._stopping:
                return
            metrics.CHILD_RESTARTS.labels("envoy").inc()
            delay = restarts.died(time.monotonic())
            log.warning("envoy_ended", status=status, restart_in=round(delay, 3))
            await asyncio.sleep(delay)

    async def watch(self) -> bool:
        """Ask whether it is ready; kill it when it hangs (silence.py). Returns readiness."""
        process = self._process
        if process is None:
            self.ready = False
            return False
        try:
            self.ready = await self._admin.ready()
            self._silence.heard(time.monotonic())
            self._greeted = True
        except DependencyUnavailable:
            self.ready = False
            if self._process is not process:
                return False
            # its admin interface is served by its main thread, and what it said is read by ours
            mine, its = os.getpid(), process.pid
            seen = [scheduling(pid, main_only=True) for pid in (its, mine)]
            self._silence.look(time.monotonic(), *seen)
            if self._silence.longer_than(HUNG_AFTER if self._greeted else START_WITHIN):
                log.error("envoy_hung", pid=its)
                self._kill()
        return self.ready

    async def stop(self, drained: Callable[[], Awaitable[None]]) -> None:
        """Drain, let `drained` hear the last of it, then SIGTERM, then SIGKILL."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(DependencyUnavailable, msgspec.MsgspecError):
            await self._admin.drain(self._drain_seconds)
            await drained()
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with tasks.timeout(5.0):
                await process.wait()
        except TimeoutError:
            self._kill()

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _end_orphan(self) -> None:
        """An agent that was killed leaves its Envoy behind, refusing everything; it would hold our port, and ask us for
        its configuration. One that stands still can't be asked to end.
        """
        orphan = self._admin.owner()
        if orphan is None:
            return
        since = started(orphan)
        with contextlib.suppress(DependencyUnavailable):
            await self._admin.quit()
        end, killed = time.monotonic() + ORPHAN_ENDS_WITHIN, False
        while lives := self._lives(orphan, since):
            if time.monotonic() > end:
                if killed:
                    break
                if orphan > 0:
                    with contextlib.suppress(OSError):
                        os.kill(orphan, signal.SIGKILL)
                end, killed = time.monotonic() + ORPHAN_ENDS_WITHIN, True
            await asyncio.sleep(0.1)
        log.warning("orphaned_envoy_stays" if lives else "orphaned_envoy_ended", pid=orphan)
        self._on_orphan()

    def _lives(self, orphan: int, since: int | None) -> bool:
        """One with a number is not asked again: the queue of one that stands still would fill up."""
        if orphan == 0:
            return self._admin.owner() is not None
        return since is not None and started(orphan) == since
