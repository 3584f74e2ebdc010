"""When a child process is started again: at once after a death, later and later after several in a row.

Used by workers.py and envoy.py; a pure clock-in, delay-out machine.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Restarts:
    """Counts deaths inside a window of seconds. The first two restarts are immediate, then 0.2, 0.4 … `limit` seconds."""

    window: float = 30.0
    limit: float = 10.0
    _deaths: list[float] = field(default_factory=list)

    def died(self, now: float) -> float:
        """Seconds to wait before the next start, with up to 20 % of jitter."""
        self._deaths = [death for death in self._deaths if now - death < self.window]
        self._deaths.append(now)
        repeated = len(self._deaths) - 2
        if repeated <= 0:
            return 0.0
        delay: float = min(self.limit, 0.1 * 2**repeated)
        return delay * random.uniform(0.8, 1.0)  # noqa: S311 - spreads load, keeps no secret
