"""What this installation can enforce: everything of the release but checks whose libraries are missing."""

from __future__ import annotations

from bartizan.policy.capabilities import IMAGE, SUPPORTED, WAF
from sidecar.checks.images import decoder
from sidecar.checks.waf import firewall


def capabilities() -> frozenset[str]:
    """Announced by the sidecar: a bundle that needs more is refused, and not sent."""
    missing = {
        name for name, there in ((WAF, firewall.available()), (IMAGE, decoder.available())) if not there
    }
    return SUPPORTED - missing
