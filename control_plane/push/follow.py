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
            present = ledger.instances()
            for instance in present:
                seen = ledger.observation(instance.instance_id)
                said = (seen[0].capabilities, seen[0].policy, seen[0].version) if seen else None
                if said is not None and told.get(instance.instance_id) != said:
                    told[instance.instance_id] = said
                    publisher.reported(instance.instance_id)
            for gone in told.keys() - {each.instance_id for each in present}:
                del told[gone]
        stirred()
        await pace.rest()
