"""The sidecar: agent, guard workers, and what they check."""

from __future__ import annotations

import protos as protos
