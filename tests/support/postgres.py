"""A real PostgreSQL (Debian package) in a folder of its own, on loopback, for tests of what replicas share."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bartizan.errors import DependencyUnavailable
from bartizan.local import processes
from control_plane.store.sql.store import open_store

_FOUND = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), None)
BIN = Path(_FOUND).resolve().parent if _FOUND else None

needs_postgres = pytest.mark.skipif(BIN is None, reason="no PostgreSQL here (Debian: postgresql)")


@asynccontextmanager
async def postgres() -> AsyncIterator[str]:
    """Its store URL; migrated."""
    assert BIN is not None
    # Short enough for a unix socket, and PostgreSQL's own: it refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="bz-pg-"))
    try:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        port, quiet = processes.free_port(), asyncio.subprocess.DEVNULL
        init = await asyncio.create_subprocess_exec(
            BIN / "initdb", "-D", folder / "data", "-A", "trust", "-U", "bz", "-N",
            stdout=quiet, stderr=quiet, cwd=folder, **_as_nobody(),
        )  # fmt: skip
        assert await init.wait() == 0
        settings = (f"unix_socket_directories={folder}", "listen_addresses=127.0.0.1", "fsync=off")
        server = await asyncio.create_subprocess_exec(
            BIN / "postgres", "-D", folder / "data", "-p", str(port), *(part for s in settings for part in ("-c", s)),
            stdout=quiet, stderr=quiet, cwd=folder, **_as_nobody(),
        )  # fmt: skip
        try:
            url = f"postgresql+asyncpg://bz@127.0.0.1:{port}/postgres"
            async with asyncio.timeout(60):
                while True:
                    try:
                        await (await open_store(url)).close()
                        break
                    except DependencyUnavailable:
                        await asyncio.sleep(0.05)
            yield url
        finally:
            server.send_signal(signal.SIGINT)  # SIGTERM would wait for whoever is still connected
            await server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_nobody() -> dict[str, Any]:
    """Arguments for a subprocess that must not be root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
