"""The way back in for who has the control plane's host: an admin token written into the store, without the API.

Whoever can write to the store could do the same by hand; this way it leaves an admin event.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import msgspec

from bartizan.api import IssuedToken, NewToken
from bartizan.errors import InvalidInput, Problem
from control_plane.api.auth import Tokens
from control_plane.policies.actor import Actor
from control_plane.store.sql.store import open_used_store

ACT = "token.recover"


async def new_admin(store_url: str, *, name: str, ttl_seconds: int) -> IssuedToken:
    """Works beside a running control plane. Raises InvalidInput, NotFound (no store there), DependencyError."""
    given = {"role": "admin", "name": name, "ttl_seconds": ttl_seconds}
    try:
        ask = msgspec.convert(given, NewToken)
    except msgspec.ValidationError as error:
        problem = Problem(path="", code="invalid_value", message=str(error))
        raise InvalidInput("the token was refused", [problem]) from error
    store = await open_used_store(store_url)
    try:
        # No file: the bootstrap token of a process that has not been used yet is that process's own.
        tokens = Tokens(store, Path(os.devnull))
        return await tokens.create(ask, Actor(token_id="host", name=_user(), role="host"), act=ACT)
    finally:
        await store.close()


def _user() -> str:
    """Whose process this is, by the kernel: its environment says what anybody likes. In a container there may be no name."""
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
