"""Blocks of the documents, run as they stand."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from bartizan.local.openbao import OpenBao
from tests.support.postgres import BIN

ROOT = Path(__file__).resolve().parents[2]


async def type_in(block: str, folder: Path, environment: Mapping[str, str] | None = None) -> None:
    """A block, typed into a shell in `folder`; every command must end well."""
    path = f"{Path(sys.executable).parent}:{BIN}:{os.environ['PATH']}"
    shell = await asyncio.create_subprocess_exec(
        "bash", "-euc", block, cwd=folder, env={**os.environ, "PATH": path, **(environment or {})}
    )
    assert await shell.wait() == 0, block


def as_root(bao: OpenBao) -> dict[str, str]:
    """What OpenBao's command needs in its environment."""
    token = json.loads((bao.state / "unseal.json").read_text())["root_token"]
    return {"BAO_ADDR": bao.address, "BAO_CACERT": str(bao.ca_file), "BAO_TOKEN": token}
