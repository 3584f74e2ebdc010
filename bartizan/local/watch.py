"""Keeps a laptop stack running: restarts what died, renews the admin token, lets a sidecar in again that lost its identity."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from bartizan import tasks
from bartizan.errors import BartizanError, DependencyUnavailable
from bartizan.local.stack import TOKEN_HOURS, Stack

PAUSE = 1.0
RETRY_RENEWAL = 60.0
RENEW = TOKEN_HOURS * 1800.0


async def watch(house: Stack, ended: asyncio.Event, note: Callable[[], Awaitable[None]]) -> None:
    """Until `ended`. `note` is called at every turn. What can't be restarted is tried again at the next one.

    Each part is looked after for itself: a sidecar serves from what it kept while control plane or OpenBao are away.
    """
    renew_at = time.time() + RENEW  # the wall clock: a token's life goes on while the machine sleeps
    while not await _pause(ended):
        await _openbao(house)
        await _control_plane(house)
        if time.time() >= renew_at:  # before the sidecar, which needs it to join anew after a long sleep
            renew_at = time.time() + RETRY_RENEWAL
            with contextlib.suppress(BartizanError, OSError):
                await house.renew_token()
                renew_at = time.time() + RENEW
        await _sidecar(house)
        with contextlib.suppress(OSError):  # a full disk: what runs goes on
            await note()


async def _pause(ended: asyncio.Event) -> bool:
    with contextlib.suppress(TimeoutError):
        async with tasks.timeout(PAUSE):
            await ended.wait()
    return ended.is_set()


async def _openbao(house: Stack) -> None:
    if not house.bao.child.running:
        with contextlib.suppress(BartizanError, OSError):
            await house.start_openbao()


async def _control_plane(house: Stack) -> None:
    if house.control_plane is not None and not house.control_plane.running:
        with contextlib.suppress(BartizanError, OSError):
            await house.start_control_plane()


async def _sidecar(house: Stack) -> None:
    if house.sidecar is None:
        return
    if house.sidecar.running:
        status = await _status(house)
        if "identity_expired" not in status.get("conditions", ()):
            with contextlib.suppress(BartizanError, OSError):
                await house.retire_earlier(status.get("instance_id", ""))
            return
        await house.sidecar.stop(
            grace=20
        )  # after a long sleep: its certificate ended, a join token lets it in again
    with contextlib.suppress(BartizanError, OSError):
        try:
            await house.start_sidecar(ready=False)
        except DependencyUnavailable:
            await house.start_sidecar(ready=False, join=False)


async def _status(house: Stack) -> dict[str, Any]:
    """Empty when the agent does not answer."""
    try:
        return await house.sidecar_status()
    except (aiohttp.ClientError, TimeoutError, OSError):
        return {}
