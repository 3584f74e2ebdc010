"""Header blocks of one connection: what is remembered of earlier ones changes nothing but the work."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.wire.grpc_admission import MAX_HEADERS, Admission
from sidecar.wire.grpc_call import Method, Stream
from sidecar.wire.http2_seam import Lane

TRACE = b"traceparent"
METHODS = {
    path: Method(name=path.decode(), unary=unary, handler=None)
    for path, unary in ((b"/test.S/Unary", True), (b"/test.S/Stream", False))
}
Block = tuple[tuple[bytes, bytes], ...]
BLOCK: Block = (
    (b":method", b"POST"),
    (b":path", b"/test.S/Unary"),
    (b"x-first", b"y"),
    (TRACE, b"00-a-b-01"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
    (b"grpc-timeout", b"2S"),
)
PLAIN: Block = tuple((name, value) for name, value in BLOCK if name != TRACE)
NAMES = st.sampled_from([name for name, _ in BLOCK] + [b"x-other"])
VALUES = st.sampled_from([value for _, value in BLOCK] + [b"/test.S/Stream", b"1n", b"", bytes(MAX_HEADERS)])


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    """Envoy's block, with a trace or without, and up to two of its fields changed, left out, or there twice."""
    traced = draw(st.booleans())
    fields = [
        (name, draw(VALUES) if name == TRACE else value) for name, value in BLOCK if traced or name != TRACE
    ]
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(fields) - 1))
        name, value = fields[at]
        match draw(st.integers(0, 3)):
            case 0:
                del fields[at]
            case 1:
                fields.insert(draw(st.integers(0, len(fields))), (name, draw(VALUES)))
            case 2:
                fields[at] = name, draw(VALUES)
            case _:
                fields[at] = draw(NAMES), value
    return tuple(fields)


def told(admission: Admission, block: Block, now: float = 0.0) -> object:
    """What becomes of a block, as a value."""
    opened = admission.admit(Lane(1), block, now)
    if isinstance(opened, Stream):
        call = opened.call
        return opened.method.name, call.method, dict(call.metadata), call.deadline, opened.due
    return opened


@given(st.lists(blocks(), min_size=1, max_size=8))
@settings(max_examples=500)
def test_a_block_means_the_same_whatever_came_before_it(played: list[Block]) -> None:
    admission = Admission(METHODS)
    for now, block in enumerate([PLAIN, BLOCK, *played]):
        assert told(admission, block, now) == told(Admission(METHODS), block, now)


@pytest.mark.parametrize("size", [1, 1024, 1025, MAX_HEADERS])
def test_a_block_of_any_size_is_judged_as_a_new_one(size: int) -> None:
    admission = Admission(METHODS)
    for name in (TRACE, b"x-first"):
        block = tuple((had, b"t" * size if had == name else value) for had, value in BLOCK)
        for _ in range(2):
            assert told(admission, block) == told(Admission(METHODS), block)


def test_traces_do_not_drive_out_what_is_known() -> None:
    admission = Admission(METHODS)
    first = admission.admit(Lane(1), PLAIN, 0.0)
    for at in range(8):
        admission.admit(Lane(1), (*PLAIN, (TRACE, b"%d" % at)), 0.0)
    again = admission.admit(Lane(1), PLAIN, 0.0)
    assert isinstance(first, Stream)
    assert isinstance(again, Stream)
    assert again.call.metadata is first.call.metadata


def test_metadata_of_a_call_stays_when_the_next_one_comes() -> None:
    admission = Admission(METHODS)
    calls = []
    for trace in (b"first", b"second", b"third"):
        block = tuple((name, trace if name == TRACE else value) for name, value in BLOCK)
        opened = admission.admit(Lane(1), block, 0.0)
        assert isinstance(opened, Stream)
        calls.append(opened.call)
    assert [call.metadata["traceparent"] for call in calls] == ["first", "second", "third"]
