"""Local mode's key set: a file that is none is told of, and the next good one is taken."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from structlog.testing import capture_logs

from bartizan import tasks
from bartizan.policy.keyset import KeySet
from sidecar.agent.apply import Applier
from sidecar.agent.changes import Changes
from sidecar.agent.conditions import Conditions
from sidecar.agent.keys import KeySets
from sidecar.agent.static import StaticSource
from sidecar.agent.verify import Verifier
from sidecar.agent.versions import SeenVersions
from sidecar.agent.workers import WorkerPool

NO_KEY_SETS = [b"", b"[]", b'{"name": "\xff"}', b'{"x":' * 5000 + b"1" + b"}" * 5000]


@pytest.mark.parametrize("content", NO_KEY_SETS)
async def test_a_key_set_that_cannot_be_read_ends_nothing(tmp_path: Path, content: bytes) -> None:
    changes = Changes()
    workers = WorkerPool(
        count=1,
        run_dir=tmp_path,
        probe_key=b"",
        environment={},
        changes=changes,
        on_audit=lambda _records: None,
        on_lost=lambda: None,
    )
    seen = SeenVersions(tmp_path / "versions.json", Conditions(changes))
    held = KeySets(Verifier(seen, frozenset()), seen, workers, changes)
    file = tmp_path / "keys.json"
    file.write_bytes(content)
    # Without a bundle nothing is ever applied.
    source = StaticSource(tmp_path / "bundle.bin", file, cast("Applier", None), held)
    good = msgspec.json.encode(KeySet(name="keys", version=1, keys=()))
    with capture_logs() as logs:
        async with asyncio.TaskGroup() as group, asyncio.timeout(30):
            running: asyncio.Task[Any] = tasks.start(group, source.run(), name="static")
            await asyncio.sleep(0)  # one look at both files
            file.write_bytes(good)
            while "keys" not in held:
                await asyncio.sleep(0.01)
            await tasks.cancel(running)
    assert ("key_set_file_invalid" in {one["event"] for one in logs}) is bool(content)
