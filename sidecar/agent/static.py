"""Local mode: the signed bundle and the key set come from files instead of a control plane, and are read again on change.

The bundle takes the same way as one from a control plane, verification included.
"""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path

import msgspec
from google.protobuf.message import DecodeError

from bartizan.errors import ResourceRejected
from bartizan.policy.keyset import KeySet
from bartizan.telemetry.logging import get_logger
from protos.gen.bartizan.policy.v1 import policy_pb2
from sidecar.agent.apply import Applier
from sidecar.agent.followed_file import FollowedFile
from sidecar.agent.keys import KeySets

EVERY = 0.2
RETRY = 5.0

log = get_logger()


class StaticSource:
    """Looks at both files five times a second."""

    def __init__(self, bundle: Path, key_set: Path | None, applier: Applier, key_sets: KeySets) -> None:
        self._bundle = FollowedFile(bundle)
        self._key_set = FollowedFile(key_set) if key_set else None
        self._applier = applier
        self._key_sets = key_sets
        self._again_at = math.inf

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._take_keys()
            await self._take_bundle()
            await asyncio.sleep(EVERY)

    def _take_keys(self) -> None:
        if self._key_set is None or (raw := self._key_set.changed()) is None:
            return
        try:
            key_set = msgspec.json.decode(raw, type=KeySet)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            log.error("key_set_file_invalid", file=str(self._key_set.path), reason=str(error))
            return
        self._key_sets.use(key_set)

    async def _take_bundle(self) -> None:
        raw = self._bundle.changed()
        if raw is None and time.monotonic() < self._again_at:
            return
        self._again_at = math.inf
        try:
            await self._applier.apply(policy_pb2.SignedBundle.FromString(self._bundle.content))
        except DecodeError:
            log.error("bundle_file_invalid", file=str(self._bundle.path))
        except ResourceRejected:
            # applier logged it; the reason may go away by itself, like a certificate that comes later
            self._again_at = time.monotonic() + RETRY
