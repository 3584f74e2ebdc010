"""What the language will say one day and this release does not enforce: refused as `unsupported`, never ignored.

Paths are document paths with [] for any index. A field that is built moves from here to schema.py or checks.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

FIELDS: Final[Mapping[str, str]] = {
    "metadata.labels": "labels of policies",
    "metadata.annotations": "annotations of policies",
    "spec.authn.mtls": "client certificates as an authentication method",
    "spec.limits.tokens": "token budgets",
    "spec.limits.concurrency": "concurrency limits",
    "spec.quota": "quotas across sidecars",
    "spec.rollout": "canary rollouts",
    "spec.signing": "signing outside of the control plane",
    "spec.output[].image": "checks of pictures that a model makes: it is trusted with its own",
}
"""Path of a planned field -> what it stands for."""

VALUES: Final[Mapping[str, Mapping[str, str]]] = {
    "spec.failure.content": {"open": "letting content pass when a check fails"},
    "spec.listener.tls": {"mesh": "the mesh's own identity on the listener"},
}
"""Path of a field -> its planned values -> what they stand for."""

_INDEX = re.compile(r"\[\d+\]")
_MESH_PART = re.compile(r"^spec\.(defaults|overrides)\.")


def generic(path: str) -> str:
    """A path as a ModelPolicy has it, indices taken out: "spec.input[2].pii" becomes "spec.input[].pii", and so does
    "spec.defaults.input[2].pii" of a MeshPolicy.
    """
    return _MESH_PART.sub("spec.", _INDEX.sub("[]", path))


def planned_field(path: str) -> str | None:
    """What a planned field stands for; None for a field that nobody planned."""
    return FIELDS.get(generic(path))


def planned_value(path: str, value: object) -> str | None:
    """What a planned value stands for; None for a value that nobody planned."""
    return VALUES.get(generic(path), {}).get(value) if isinstance(value, str) else None
