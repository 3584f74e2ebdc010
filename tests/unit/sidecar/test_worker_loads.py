"""A worker outlives every plan: one that breaks its builder in an unforeseen way is answered, not died of."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import msgspec
import pytest

from bartizan.policy.checks import Canary, Probabilities
from sidecar.agent.channel import Channel
from sidecar.agent.messages import AgentMessage, Load, Loaded, WorkerMessage
from sidecar.wire.engine_http2 import Http2Engine
from sidecar.wire.http2_session import Http2Session
from sidecar.worker import Worker
from sidecar.worker_settings import WorkerSettings
from tests.support.guard import guard_plan


@pytest.mark.parametrize("check", [Canary(tokens=("",)), Probabilities(decimals=10**9)])
async def test_a_plan_that_breaks_its_builder_is_refused_by_the_name_of_the_error(
    check: Canary | Probabilities,
) -> None:
    # The messages' own types refuse these plans: here they arrive all the same.
    load = Load(plan=guard_plan(id="2.2", output=(check,)))
    agent, worker_end = socket.socketpair()
    sent: Channel[AgentMessage, WorkerMessage] = Channel.agent_side(agent)
    received: Channel[WorkerMessage, AgentMessage] = Channel(
        worker_end, msgspec.msgpack.encode, lambda _: load
    )
    settings = WorkerSettings(channel_fd=0, audit_fd=0, guard_socket=Path("unused"))
    worker = Worker(
        channel=received, audit_channel=received, engine=Http2Engine(Http2Session), settings=settings
    )
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(worker.serve_agent())
        await sent.send(load)
        answer = await sent.receive()
        assert isinstance(answer, Loaded)
        assert (answer.plan_id, answer.hash) == ("2.2", "")
        assert answer.error.startswith("the plan can't be built: ")
        assert not serving.done()
        sent.close()
    received.close()
