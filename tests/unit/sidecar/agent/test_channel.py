"""The frames between agent and worker."""

from __future__ import annotations

import asyncio
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.errors import ProtocolViolation
from sidecar.agent.channel import MAX_FRAME, Channel
from sidecar.agent.messages import AuditBatch, Drop, KeysSet, Ping, Pong, SetJwks, SpanBatch


async def test_each_side_reads_what_the_other_sends() -> None:
    left, right = socket.socketpair()
    agent, worker = Channel.agent_side(left), Channel.worker_side(right)
    await agent.send(Ping(sequence=1))
    await agent.send(Drop(plan_id="1.1"))
    assert await worker.receive() == Ping(sequence=1)
    assert await worker.receive() == Drop(plan_id="1.1")
    await worker.send(Pong(sequence=1, metrics={"x": 2.0}))
    assert await agent.receive() == Pong(sequence=1, metrics={"x": 2.0})
    worker.close()
    assert await agent.receive() is None
    agent.close()


async def test_records_and_spans_travel_as_they_are() -> None:
    left, right = socket.socketpair()
    worker = Channel.worker_side(right)
    records = tuple(b'{"id":"%d"}' % number for number in range(5))
    await worker.send(AuditBatch(records=records))
    assert all(record in left.recv(65_536, socket.MSG_PEEK) for record in records)
    await worker.send(SpanBatch(request=bytes(range(256))))
    agent = Channel.agent_side(left)
    assert await agent.receive() == AuditBatch(records=records)
    assert await agent.receive() == SpanBatch(request=bytes(range(256)))
    agent.close()
    worker.close()


async def test_documents_of_others_may_hold_any_number() -> None:
    left, right = socket.socketpair()
    agent, worker = Channel.agent_side(left), Channel.worker_side(right)
    told = SetJwks(issuer="i", jwks={"keys": [], "x": [2**200, -(2**64), 1e308]})
    await agent.send(told)
    assert await worker.receive() == told
    agent.close()
    worker.close()


async def test_messages_larger_than_the_socket_buffer_arrive_whole() -> None:
    left, right = socket.socketpair()
    agent, worker = Channel.agent_side(left), Channel.worker_side(right)
    big = Drop(plan_id="x" * 3_000_000)
    async with asyncio.TaskGroup() as group:
        group.create_task(agent.send(big))
        group.create_task(agent.send(Ping(sequence=7)))
        received = [await worker.receive(), await worker.receive()]
    assert received == [big, Ping(sequence=7)]
    agent.close()
    worker.close()


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param((MAX_FRAME + 1).to_bytes(4, "big"), id="too long"),
        pytest.param(b"\x00\x00\x00\x05hello", id="no message"),
        pytest.param(b"\x00\x00\x00\x0d\x81\xa4type\xa6nobody", id="unknown tag"),
        pytest.param(b"\x00\x00\x00\x09abc", id="ends inside a frame"),
        pytest.param(b"\x00\x00", id="ends inside a length"),
    ],
)
async def test_garbage_is_a_protocol_violation(raw: bytes) -> None:
    left, right = socket.socketpair()
    agent = Channel.agent_side(left)
    right.sendall(raw)
    right.close()
    with pytest.raises(ProtocolViolation):
        await agent.receive()
    agent.close()


@settings(max_examples=30)
@given(versions=st.lists(st.integers(0, 2**40), min_size=1, max_size=5), cut=st.integers(1, 30))
def test_frames_survive_any_split(versions: list[int], cut: int) -> None:
    async def play() -> None:
        left, right = socket.socketpair()
        memory_left, memory_right = socket.socketpair()
        writer = Channel.worker_side(memory_left)
        for version in versions:
            await writer.send(KeysSet(name="k", version=version))
        writer.close()
        raw = b"".join(iter(lambda: memory_right.recv(65536), b""))
        memory_right.close()
        agent = Channel.agent_side(left)
        async with asyncio.TaskGroup() as group:

            async def trickle() -> None:
                for start in range(0, len(raw), cut):
                    right.sendall(raw[start : start + cut])
                    await asyncio.sleep(0)
                right.close()

            group.create_task(trickle())
            got = []
            while (message := await agent.receive()) is not None:
                got.append(message)
        assert got == [KeysSet(name="k", version=version) for version in versions]
        agent.close()

    asyncio.run(play())
