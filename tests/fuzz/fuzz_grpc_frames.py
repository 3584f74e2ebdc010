"""Fuzzes the cutting of a stream into gRPC messages: `python -m tests.fuzz.play grpc_frames`.
The suite plays `check` with hypothesis."""

from __future__ import annotations

from sidecar.wire.grpc_frames import HEAD, BadFrame, MessageReader, whole

MOST = 4096


def reference(data: bytes) -> tuple[list[bytes], int | None, bytes]:
    """What the whole of it means: the messages, the status of the first bad head, the bytes that are left over."""
    messages: list[bytes] = []
    while data:
        if data[0] != 0:
            return messages, 12 if data[0] == 1 else 13, b""
        if len(data) < HEAD:
            break
        size = int.from_bytes(data[1:HEAD], "big")
        if size > MOST:
            return messages, 8, b""
        if len(data) < HEAD + size:
            break
        messages.append(data[HEAD : HEAD + size])
        data = data[HEAD + size :]
    return messages, None, data


def check(data: bytes, cuts: bytes, *, eager: bool) -> None:
    """Whatever the pieces and whenever the messages are taken, they are the same, and no byte is kept for nothing."""
    reader, messages, code = MessageReader(MOST), [], None

    def take() -> int | None:
        try:
            while (message := reader.take()) is not None:
                messages.append(message)
        except BadFrame as bad:
            return bad.code
        return None

    start, index = 0, 0
    while start < len(data) and code is None:
        size = cuts[index % len(cuts)] + 1 if cuts else len(data)
        reader.feed(data[start : start + size])
        start, index = start + size, index + 1
        if eager:
            code = take()
    code = take() if code is None else code
    expected, bad, left = reference(data)
    assert messages == expected
    assert code == bad
    assert len(reader) == len(left)
    assert reader.ready is (bad is not None)
    one = whole(data, MOST)
    if one is not None:
        assert [one] == expected
        assert not left


def one_input(data: bytes) -> None:
    """An input of the fuzzer: how it is cut, then the bytes."""
    if len(data) > 2:
        count = data[0] % 8
        check(data[1 + count :], data[1 : 1 + count], eager=bool(data[0] & 128))


def seeds() -> list[bytes]:
    """Nothing but the empty input."""
    return [b""]
