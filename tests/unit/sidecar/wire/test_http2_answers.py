"""Our session of HTTP/2 and libnghttp2's: a peer gets the same answers from both, whatever its windows are."""

from __future__ import annotations

import ngh2
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.wire import grpc_status as status
from sidecar.wire.http2_seam import Lane, Sessions
from sidecar.wire.http2_session import Http2Session
from sidecar.wire.http2_session_ngh2 import Ngh2Session
from tests.unit.sidecar.wire.test_http2_sessions import MOST, Noted


class Peer:
    """A client by libnghttp2, and what it got on each stream."""

    def __init__(self, window: int) -> None:
        self.wire = ngh2.Connection(ngh2.Role.CLIENT)
        self.wire.initiate_connection({ngh2.Setting.INITIAL_WINDOW_SIZE: window})
        self.got: dict[int, list[object]] = {}

    def open(self, number_of: int, *, ended: bool) -> None:
        for _ in range(number_of):
            head = (
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":path", b"/a"),
                (b":authority", b"guard"),
            )
            number = self.wire.send_request(head, end_stream=ended)
            self.got[number] = []

    def receive(self, data: bytes) -> None:
        self.wire.receive_data(data)
        for event in self.wire.events():
            match event:
                case ngh2.ResponseReceived(stream_id=number, headers=headers, end_stream=ended):
                    self.got[number] += [headers, ended]
                case ngh2.TrailersReceived(stream_id=number, headers=headers):
                    self.got[number].append(headers)
                case ngh2.DataReceived(stream_id=number, data=data):
                    if self.got[number] and isinstance(self.got[number][-1], bytearray):
                        self.got[number][-1] += data  # type: ignore[operator]
                    else:
                        self.got[number].append(bytearray(data))
                case ngh2.StreamReset(stream_id=number, error_code=code):
                    self.got[number].append(int(code))
                case _:
                    pass


ACTS = st.lists(
    st.tuples(
        st.integers(0, 4),  # whose
        st.sampled_from(["answer", "say", "say", "fine", "fail", "flush"]),
        st.sampled_from([0, 1, 60, 20_000, 100_000]),
    ),
    max_size=20,
)


def got(
    acts: list[tuple[int, str, int]], window: int, sessions: Sessions, *, ended: bool
) -> dict[int, list[object]]:
    peer, lanes = Peer(window), list[Lane]()

    class Opened(Noted):
        def requested(self, lane: Lane, headers: status.Headers) -> None:
            lanes.append(lane)

        def lost(self, lane: Lane) -> None:
            pass

    session = sessions(Opened(), MOST)
    begun, over = set[int](), set[int]()

    def exchange() -> None:
        for _ in range(40):
            sent = session.output()
            peer.receive(sent)
            session.receive(peer.wire.data_to_send())
            if not sent:
                break

    peer.open(5, ended=ended)
    exchange()
    assert len(lanes) == 5
    for at, act, size in acts:
        lane = lanes[at]
        if act == "flush":
            exchange()
        elif at in over:
            continue
        elif act == "say":
            if at not in begun:
                session.begin(lane)
                begun.add(at)
            session.say(lane, bytes(size))
        elif act == "answer" and at not in begun:
            session.answer(lane, bytes(size))
            over.add(at)
        elif act in {"fine", "fail"}:
            trailers = status.trailers(0 if act == "fine" else 13, "")
            session.end(lane, trailers if at in begun else status.RESPONSE + trailers)
            over.add(at)
    exchange()
    return peer.got


@settings(max_examples=300, deadline=None)
@given(ACTS, st.sampled_from([0, 50, 1000, 65_535]), st.booleans())
def test_a_peer_gets_the_same_from_both(acts: list[tuple[int, str, int]], window: int, ended: bool) -> None:
    if not ended:
        # what waits for the connection's window costs libnghttp2's session trailers of others, where it then resets
        acts = [(at, act, min(size, 60)) for at, act, size in acts]
    assert got(acts, window, Http2Session, ended=ended) == got(acts, window, Ngh2Session, ended=ended)
