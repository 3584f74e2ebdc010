"""Keeps a laptop stack running: restarts what died, renews the admin token, lets a sidecar in again that lost its identity."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from bartizan.errors import BartizanError, DependencyUnavailable
from bartizan.local.stack import TOKEN_HOURS, Stack

PAUSE = 1.0
RETRY_RENEWAL = 60.0
RENEW = TOKEN_HOURS * 1800.0


async def watch(house: Stack, ended: asyncio.Event, changed: Callable[[], Awaitable[None]]) -> None:
    """Until `ended`. `changed` is called after every restart. What can't be restarted is tried again at the next turn.

    Each part is looked after for itself: a sidecar serves from what it kept while control plane or OpenBao are away.
    """
    renew_at = time.time() + RENEW  # the wall clock: a token's life goes on while the machine sleeps
    while not await _pause(ended):
        restarted = await _openbao(house), await _control_plane(house), await _sidecar(house)
        if any(restarted):
            await changed()
        if time.time() >= renew_at:
            renew_at = time.time() + RETRY_RENEWAL
            with contextlib.suppress(BartizanError, OSError):
                await house.renew_token()
                renew_at = time.time() + RENEW


async def _pause(ended: asyncio.Event) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PAUSE):
            await ended.wait()
    return ended.is_set()


async def _openbao(house: Stack) -> bool:
    if house.bao.child.running:
        return False
    with contextlib.suppress(BartizanError, OSError):
        await house.start_openbao()
        return True
    return False


async def _control_plane(house: Stack) -> bool:
    if house.control_plane is None or house.control_plane.running:
        return False
    with contextlib.suppress(BartizanError, OSError):
        await house.start_control_plane()
        return True
    return False


async def _sidecar(house: Stack) -> bool:
    if house.sidecar is None:
        return False
    if house.sidecar.running:
        status = await _status(house)
        if "identity_expired" not in status.get("conditions", ()):
            with contextlib.suppress(BartizanError, OSError):
                await house.retire_earlier(status.get("instance_id", ""))
            return False
        await house.sidecar.stop(
            grace=20
        )  # after a long sleep: its certificate ended, a join token lets it in again
    try:
        await house.start_sidecar(ready=False)
    except DependencyUnavailable:
        with contextlib.suppress(BartizanError, OSError):
            await house.start_sidecar(ready=False, join=False)
    except (BartizanError, OSError):
        return False
    return house.sidecar.running


async def _status(house: Stack) -> dict[str, Any]:
    """Empty when the agent does not answer."""
    try:
        return await house.sidecar_status()
    except (aiohttp.ClientError, TimeoutError, OSError):
        return {}
