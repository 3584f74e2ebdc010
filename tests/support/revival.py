"""Each test of a stack that several share begins with all of it up, whatever the one before left when it failed."""

from __future__ import annotations

import asyncio
import signal

from bartizan.errors import DependencyError
from bartizan.local.stack import Stack


async def revive(stack: Stack) -> None:
    """Let go on what was stopped, start what ended; returns when all is ready."""
    if stack.bao.child.running:
        stack.bao.resume()
    else:
        await stack.bao.start()
    for child, start in (
        (stack.control_plane, stack.start_control_plane),
        (stack.sidecar, stack.start_sidecar),
    ):
        if child is not None and child.running:
            child.signal(signal.SIGCONT)
        else:
            await start()
    async with asyncio.timeout(60):
        while not await _answers(stack):
            await asyncio.sleep(0.05)


async def _answers(stack: Stack) -> bool:
    """Whether the control plane is past its start: until Vault has signed one its certificate is makeshift."""
    try:
        async with stack.client() as client:
            return (await client.health()).status == "ok"
    except DependencyError:
        return False
