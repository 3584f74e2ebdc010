"""What this installation can enforce: everything of the release but checks whose libraries are missing."""

from __future__ import annotations

from bartizan.policy.capabilities import CLASSIFIER, IMAGE, NAMES, SHIPPED_NAMES, SUPPORTED, WAF
from sidecar.checks.classifier import model_files
from sidecar.checks.images import decoder
from sidecar.checks.names import shipped
from sidecar.checks.waf import firewall


def capabilities() -> frozenset[str]:
    """Announced by the sidecar: a bundle that needs more is refused, and not sent."""
    optional = {
        WAF: firewall.available(),
        IMAGE: decoder.available(),
        CLASSIFIER: model_files.available(),
        NAMES: model_files.available(),
        SHIPPED_NAMES: shipped.folder() is not None,
    }
    return SUPPORTED - {name for name, there in optional.items() if not there}
