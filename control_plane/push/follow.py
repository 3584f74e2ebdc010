"""What sidecars report may entitle them to something, and may be what a rotation waits for: ledger -> publisher, engine."""

from __future__ import annotations

from collections.abc import Callable

from control_plane.fleet.bell import Pace
from control_plane.fleet.ledger import Ledger
from control_plane.push.publish import Publisher

_GATHER_SECONDS = 0.02


async def follow(ledger: Ledger, publisher: Publisher, stirred: Callable[[], None] = lambda: None) -> None:
    """Until cancelled. `stirred` is called after every change."""
    told: dict[str, object] = {}
    generation = -1
    # A fleet that reports at once is one look, not a thousand.
    pace = Pace(_GATHER_SECONDS)
    while True:
        generation = await ledger.changed(generation)
        with pace.look():
            for name in ledger.news():
                if (seen := ledger.observation(name)) is None:
                    told.pop(name, None)
                    continue
                said = (seen[0].capabilities, seen[0].policy, seen[0].version)
                if told.get(name) != said:
                    told[name] = said
                    publisher.reported(name)
        stirred()
        await pace.rest()
