"""asyncio's side of one HTTP/2 connection: bytes to and from the socket, handlers driven, deadlines, back-pressure.

A unary handler that never waits, and a streaming one that waits for its peer alone, cost no task: they are driven where
their message arrived, and everything that one read of the socket asked for is answered in one write.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextvars import Context, copy_context
from typing import Any, Final, cast

from bartizan.telemetry.logging import get_logger
from sidecar.wire import grpc_status as status
from sidecar.wire.faults import status_of
from sidecar.wire.grpc_call import Stream
from sidecar.wire.http2_connection import Http2Connection
from sidecar.wire.running import Running, Server, give_up, rest, unwatch
from sidecar.wire.turns import Turns

log = get_logger()

PREFACE_SECONDS: Final = 10.0
"""A connection that has not said by then that it speaks HTTP/2 is ended."""
_CLOSE_SECONDS: Final = 5.0  # for a peer that does not read our last bytes
_PIECE: Final = 256 * 1024  # bytes for one write
_MOST_QUEUED: Final = 256 * 1024  # bytes of replies of one call that the peer does not take


class Http2Protocol(asyncio.Protocol):
    """One connection of Envoy."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._core = Http2Connection(
            sessions=server.sessions,
            methods=server.methods,
            max_message=server.max_message,
            max_calls=server.max_calls,
            budget=server.budget,
            shell=self,
        )
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._flushing = False
        self._woken = False
        self._blocked: set[Stream] = set()
        self._turns = Turns(self._in_turn, self._flush, self._core.clock)
        self._timer: asyncio.TimerHandle | None = None
        self.closed: asyncio.Future[None] = self._loop.create_future()

    # --- the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if len(self._server.connections) >= self._server.max_connections:
            log.warning("wire_connections_exhausted")
            self.abort()
            return
        self._server.connections.add(self)
        self._transport.set_write_buffer_limits(high=2 * _PIECE)
        self._timer = self._loop.call_later(PREFACE_SECONDS, self.abort)
        self._flush()

    def connection_lost(self, _error: Exception | None) -> None:
        self._server.connections.discard(self)
        self._stop_timer()
        self._transport = None
        self._core.forget_all()
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        core = self._core
        if core.closed:
            return
        self._turns.new_read()
        self._flushing = True  # what is answered meanwhile goes out below, in one write
        self._woken = False
        try:
            core.receive(data)
        except Exception as error:
            log.error("wire_connection_failed", error=type(error).__name__)
            self.abort()
            return
        if self._timer is not None and core.ready:
            self._stop_timer()
        if self._woken:  # after these tasks: most answer at once, and that is one write instead of two
            self._loop.call_soon(self._flush)
        else:
            self._flush()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def abort(self) -> None:
        """End it without another word."""
        if self._transport is not None:
            self._transport.abort()

    def _close(self) -> None:
        """End it when the last bytes are written."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
            self._stop_timer()
            self._timer = self._loop.call_later(_CLOSE_SECONDS, self.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _flush(self) -> None:
        """Write what is ready, unless the peer does not read; wake handlers whose replies are taken."""
        self._flushing = False
        transport, core = self._transport, self._core
        if transport is None or transport.is_closing():
            return
        while not self._paused and (out := core.output()):
            transport.write(out)
        if self._blocked:
            for stream in [each for each in self._blocked if core.queued(each) <= _MOST_QUEUED // 2]:
                self._blocked.discard(stream)
                stream.owner.drained()
        if core.closed or (core.final and core.idle()):
            self._close()

    def _soon(self) -> None:
        """Write at the end of this turn of the loop, once for all answers that it made."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    # --- the engine's stop

    def drain(self) -> None:
        """Ask the peer to open no more calls."""
        self._core.notice()
        self._flush()

    def last_call(self) -> None:
        """Take no more calls; close when the running ones are over."""
        self._core.final_notice()
        self._flush()

    def abandon(self) -> None:
        """End the running calls."""
        for stream in self._core.streams:
            self._core.fail(stream, status.UNAVAILABLE, "the guard is stopping")
        self._flush()
        self._close()

    # --- calls

    def asked(self, stream: Stream, message: bytes) -> bytes | None:
        """Implements Shell, as do the public ones below."""
        if stream.timer is not None:
            unwatch(stream)
        return self._drive(stream, message) if self._turns.now(stream, message) else None

    def _in_turn(self, stream: Stream, message: bytes) -> None:
        """Ask a unary handler later than its message came."""
        if not self._is_late(stream):  # of those no work is begun for callers that wait no longer
            answer = self._drive(stream, message)
            if answer is not None:
                self._core.answer(stream, answer)

    def _drive(self, stream: Stream, message: bytes) -> bytes | None:
        """Ask a unary handler. None where the answer comes later, is another than a good one, or comes too late."""
        try:
            answer = stream.method.handler(stream.call, message)
            if isinstance(answer, bytes):
                return None if self._is_late(stream) else answer
            self._begin(stream, answer)
        except Exception as error:
            self._failed(stream, error)
        return None

    def _begin(self, stream: Stream, work: Coroutine[Any, Any, bytes]) -> None:
        """Drive a handler's coroutine up to its first wait, with which it becomes a task."""
        context = copy_context()
        try:
            waits_for = context.run(work.send, None)
        except StopIteration as answer:
            self._answer(stream, answer.value)
        except Exception as error:
            self._failed(stream, error)
        else:
            if self._admit(stream, context):
                self.awaited(stream)
                stream.owner.become_task(self._wait(stream, work, waits_for))
            else:
                context.run(give_up, work, waits_for)

    async def _wait(self, stream: Stream, work: Coroutine[Any, Any, bytes], waits_for: Any) -> None:
        try:
            self._answer(stream, await rest(work, waits_for))
        except Exception as error:
            self._failed(stream, error)

    def _answer(self, stream: Stream, reply: bytes) -> None:
        if not self._is_late(stream):
            try:
                self._core.answer(stream, reply)
            except Exception as error:
                self._failed(stream, error)

    def opened(self, stream: Stream) -> None:
        if not self._is_late(stream) and self._admit(stream, None):
            self.awaited(stream)
            stream.owner.begin(self._serve(stream))

    async def _serve(self, stream: Stream) -> None:
        core = self._core
        replies: AsyncIterator[bytes] | None = None
        try:
            replies = stream.method.handler(stream.call, stream.owner)
            async for reply in replies:
                core.send(stream, reply)
                self._soon()
                if core.queued(stream) > _MOST_QUEUED:
                    self._blocked.add(stream)
                    await stream.owner.until_drained()
            core.finish(stream, status.OK)
        except Exception as error:
            self._failed(stream, error)
        finally:
            # also when the call is cancelled between two replies: the handler leaves its evidence at its end
            if isinstance(replies, AsyncGenerator):
                await replies.aclose()

    def _admit(self, stream: Stream, context: Context | None) -> bool:
        """Whether one more handler may wait; the call is ended where not."""
        server = self._server
        if server.running >= server.max_calls:
            self._core.fail(stream, status.RESOURCE_EXHAUSTED, "too many calls")
            return False
        server.running += 1
        stream.owner = Running(stream, server.swarm, self._take, self._ended, context)
        return True

    def _ended(self, stream: Stream, error: BaseException | None) -> None:
        """The handler is over, however: a call without a status by now did not end well."""
        self._server.running -= 1
        unwatch(stream)
        stream.owner.close()
        stream.owner = None
        self._blocked.discard(stream)
        if error is not None and not isinstance(error, asyncio.CancelledError):
            log.error("call_failed", error=type(error).__name__)
        self._core.finish(stream, status.INTERNAL, "internal error")
        self._soon()

    def _failed(self, stream: Stream, error: Exception) -> None:
        """End the call with a status other than OK."""
        self._core.finish(stream, *status_of(error))

    def _is_late(self, stream: Stream) -> bool:
        """Whether the caller waits no longer; the call is ended then."""
        if stream.due is None or self._core.clock() < stream.due:
            return False
        self._core.finish(stream, status.DEADLINE_EXCEEDED)
        return True

    def awaited(self, stream: Stream) -> None:
        """End the call when its caller waits no longer."""
        if stream.due is not None:
            left = max(0.0, stream.due - self._core.clock())
            stream.timer = self._loop.call_later(left, self._late, stream)

    def _late(self, stream: Stream) -> None:
        self._core.fail(stream, status.DEADLINE_EXCEEDED, "")
        self._soon()

    def said(self, stream: Stream, message: bytes) -> bool:
        return stream.owner is not None and stream.owner.say(message)

    def readable(self, stream: Stream) -> None:
        if stream.owner is not None:
            self._woken = self._woken or stream.owner.task is not None
            stream.owner.resume()

    def gone(self, stream: Stream) -> None:
        """The call is over but for its handler, which may be the one that is running now: it is cancelled later."""
        unwatch(stream)
        if stream.owner is not None:
            self._loop.call_soon(stream.owner.cancel)

    def _take(self, stream: Stream) -> bytes | None:
        """The next message for a handler; opens the window that its bytes held."""
        message = self._core.take(stream)
        if message is not None and self._core.wants_output():
            self._soon()
        return message
