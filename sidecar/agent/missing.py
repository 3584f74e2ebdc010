"""Asks Envoy once a second how many access-log entries it wrote, and reports those that never came as lost records."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from bartizan.errors import DependencyUnavailable
from sidecar.agent.admin import EnvoyAdmin
from sidecar.audit.ledger import AGENT_ENDED, ENDED, Ledger

EVERY = 1.0
LAST = 2.0
"""Seconds for what Envoy still has when it is told to end."""
_AGAIN = 0.05


class MissingEntries:
    """`lose` takes a number and a reason."""

    def __init__(self, admin: EnvoyAdmin, lose: Callable[[int, str], None]) -> None:
        self._admin = admin
        self._lose = lose
        self._died: list[Ledger] = []
        self._started = False
        self.ledger = Ledger()
        """Of the Envoy that runs now."""

    def renew(self) -> None:
        """An Envoy starts, the first one or after another one died: it counts from nothing."""
        if self._started:
            self._died.append(self.ledger)
        self._started = True
        self.ledger = Ledger()

    def orphan(self) -> None:
        """A predecessor's Envoy let requests in while no agent was there to take its entries: nobody knows how many."""
        self._lose(0, AGENT_ENDED)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            died, self._died = self._died, []
            await asyncio.sleep(EVERY)  # what a dead one had sent is read meanwhile
            for ledger in died:
                self._lose(ledger.behind, ENDED)  # and what it wrote since the last look, which nobody knows
            await self._look()

    async def settle(self) -> None:
        """Envoy takes no more requests: wait for its last entries, and report those that do not come."""
        await self._look()
        end = time.monotonic() + LAST
        while self.ledger.behind and time.monotonic() < end:  # noqa: ASYNC110 - entries come one by one
            await asyncio.sleep(_AGAIN)
        if lost := self.ledger.behind:
            self._lose(lost, ENDED)

    async def _look(self) -> None:
        ledger, received = self.ledger, self.ledger.received
        try:
            written, dropped = await self._admin.access_log()
        except (DependencyUnavailable, msgspec.MsgspecError):
            return
        if ledger is self.ledger:
            for reason, lost in ledger.look(written, dropped, received).items():
                self._lose(lost, reason)
