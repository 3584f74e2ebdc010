"""One HTTP/2 connection without I/O: no input makes it raise, lose count of its bytes or keep a call for ever."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.wire.http2_seam import Sessions
from sidecar.wire.http2_session import Http2Session
from sidecar.wire.http2_session_ngh2 import Ngh2Session
from tests.fuzz.fuzz_http2_connection import MOST_CALLS, Shell, one_input
from tests.integration.wire import raw_h2 as h2

SESSIONS = (Http2Session, Ngh2Session)
BEGIN = st.sampled_from([bytes([how]) for how in (0, 1, 3, 5, 7)])
STEPS = st.lists(st.one_of(st.integers(0, 17), st.integers(0, 255)), max_size=300).map(bytes)


@settings(max_examples=300, deadline=None)
@given(BEGIN, STEPS)
@pytest.mark.parametrize("sessions", SESSIONS)
def test_no_program_of_a_peer_and_its_handlers_breaks_the_connections_books(
    sessions: Sessions, begin: bytes, steps: bytes
) -> None:
    one_input(begin + steps, sessions)


@given(st.binary(max_size=600))
def test_any_bytes_are_taken_or_end_the_connection(data: bytes) -> None:
    one_input(data)


@pytest.fixture(name="shell", params=SESSIONS)
def _shell(request: pytest.FixtureRequest) -> Shell:
    made = Shell(request.param)
    made.receive(h2.PREFACE + h2.frame(h2.SETTINGS) + h2.frame(h2.SETTINGS, h2.ACK))
    return made


def opened(number: int, path: bytes = b"/test.S/Stream") -> bytes:
    return h2.frame(h2.HEADERS, h2.END_HEADERS, number, h2.block(path))


def test_the_fuzzers_programs_reach_handlers_and_the_end_of_calls(shell: Shell) -> None:
    """Else the fuzzer would prove nothing."""
    shell.receive(
        opened(1) + h2.frame(h2.DATA, 0, 1, h2.message(b"a")) + h2.request(3, path=b"/test.S/Unary")
    )
    assert [stream.lane.number for stream in shell.calls] == [1, 3]
    shell.take(shell.calls[0])
    shell.send(shell.calls[0], 10)
    shell.core.finish(shell.calls[1], 0)
    shell.check()
    shell.output()
    assert shell.written > 10
    shell.receive(h2.frame(h2.RST_STREAM, 0, 1, bytes(4)))
    assert shell.over == {1}
    shell.end()


def test_calls_of_a_peer_that_never_ends_them_are_bounded(shell: Shell) -> None:
    shell.receive(b"".join(opened(number) for number in range(1, 201, 2)))
    shell.check()
    assert len(shell.calls) == MOST_CALLS
    shell.end()


def test_a_message_that_its_handler_waits_for_takes_no_room_and_gives_its_window_back(shell: Shell) -> None:
    """More than a stream's window, and than all calls may leave unread."""
    shell.receive(opened(5))
    for _ in range(400):
        shell.receive(h2.frame(h2.DATA, 0, 5, h2.message(bytes(4000))))
        shell.output()
        shell.check()
    assert shell.handed == 400
    assert shell.budget.now == 0
    shell.end()


def test_unread_messages_of_all_calls_together_are_bounded(shell: Shell) -> None:
    """Each stays within its own window; the budget ends the call that brings too much."""
    piece = h2.message(bytes(4000)) * 4
    for number in range(1, 2 * MOST_CALLS, 2):
        shell.receive(opened(number) + b"".join(h2.frame(h2.DATA, 0, number, piece) for _ in range(15)))
        shell.check()
    assert shell.over
    shell.end()
