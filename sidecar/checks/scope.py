"""What checks may know of the exchange that they look at, beyond its text. Made by sidecar/plan/plan.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sidecar.checks.tokens import Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One exchange. `keys`: secrets that make pseudonyms, by the name that the policy gives them."""

    tenant: str = ""
    tokens: Tokens = field(default_factory=Tokens)
    keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)
