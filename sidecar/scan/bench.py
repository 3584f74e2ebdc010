"""What `bartizan policy bench` computes: detection and false-positive rates with confidence intervals, latency.

Prompts go the way of a request: decoded from a body, then through the policy's checks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from bartizan.policy.bundle import GuardModel, GuardPlan
from bartizan.policy.checks import InputCheck
from bartizan.policy.schema import Route
from sidecar.checks.catalog import build_checks
from sidecar.checks.content import inspect_document
from sidecar.formats.base import Format
from sidecar.formats.catalog import build_format
from sidecar.model.finding import Action

_Z: Final = 1.959964
"""95 % of a normal distribution."""


class RequestPath:
    """The decoders of a small JSON body and of a protocol's bodies, and the checks of a policy."""

    def __init__(self, checks: Sequence[InputCheck], bodies: Format | None = None, path: str = "") -> None:
        route = Route(path="/text", input_text=("$.text",))
        plan = GuardPlan(
            id="1.1",
            policy="bench",
            revision=1,
            model=GuardModel(name="bench", protocol="json_fields"),
            tenants=(),
            routes=(route,),
        )
        self._format = build_format(plan)
        self._bodies, self._path = bodies or self._format, path
        self._checks = build_checks(checks)
        for check in self._checks.asking:
            check.start()
        self.action("a first text pays for tables that are made when they are wanted")

    def action(self, text: str) -> Action:
        """What becomes of a request with this text."""
        return self._of(self._format, "/text", msgspec.json.encode({"text": text}))

    def hits(self, text: str) -> bool:
        return self.action(text) is not Action.ALLOW

    def hits_body(self, body: bytes) -> bool:
        """Raises FormatError."""
        return self._of(self._bodies, self._path, body) is not Action.ALLOW

    def _of(self, form: Format, path: str, body: bytes) -> Action:
        document = form.decode_request(path, "application/json", body)
        return inspect_document(document, self._checks, shadow=False).action


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How many of `rows` were hit; low and high bound the true share with 95 % confidence."""

    hits: int
    rows: int
    share: float
    low: float
    high: float


def rate(hits: int, rows: int) -> Rate:
    """Wilson's score interval: right also for few rows and for shares near 0 and 1 (Wilson, JASA 22, 1927)."""
    if not rows:
        return Rate(hits=0, rows=0, share=0.0, low=0.0, high=1.0)
    share = hits / rows
    bend = 1 + _Z * _Z / rows
    middle = (share + _Z * _Z / (2 * rows)) / bend
    half = _Z * math.sqrt(share * (1 - share) / rows + _Z * _Z / (4 * rows * rows)) / bend
    return Rate(
        hits=hits,
        rows=rows,
        share=share,
        low=0.0 if hits == 0 else max(0.0, middle - half),
        high=1.0 if hits == rows else min(1.0, middle + half),
    )


class Latency:
    """Times in bins that grow by 2 %: exact enough, bounded whatever the number of prompts."""

    def __init__(self) -> None:
        self._bins: dict[int, int] = {}
        self._count = 0

    def add(self, seconds: float) -> None:
        at = math.ceil(math.log(max(seconds, 1e-7)) / math.log(1.02))
        self._bins[at] = self._bins.get(at, 0) + 1
        self._count += 1

    def quantile(self, share: float) -> float:
        """Seconds that this share of prompts took at most; 0 without prompts."""
        left = max(1, math.ceil(share * self._count))
        for at in sorted(self._bins):
            left -= self._bins[at]
            if left <= 0:
                return float(1.02**at)
        return 0.0


class Tally:
    """Prompts of one kind: how many, how many were hit, how long they took."""

    def __init__(self) -> None:
        self._rows = 0
        self._hits = 0
        self.latency = Latency()

    def add(self, seconds: float, *, hit: bool) -> None:
        self._rows += 1
        self._hits += hit
        self.latency.add(seconds)

    def rate(self) -> Rate:
        return rate(self._hits, self._rows)
