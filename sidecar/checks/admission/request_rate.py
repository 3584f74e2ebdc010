"""Request rates: token buckets per key, tenant or sidecar. Each worker holds its share (1/workers) of every bucket.

Buckets outlive plans, so that publishing a policy refills nobody; only authenticated callers get one. A retried call
that reaches another worker is charged there too: it comes out of that worker's share.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bartizan.policy.bundle import RateLimit
from sidecar.checks.admission.base import Turned
from sidecar.model.decision import Cause
from sidecar.model.request import Identity

MOST_BUCKETS = 100_000
_MOST_CHARGED = 16_384
_SWEPT = 64
BucketKey = tuple[str, str, float, int, str]


@dataclass(slots=True)
class Bucket:
    """`tokens` as of `at` (monotonic seconds)."""

    tokens: float
    at: float


@dataclass(slots=True)
class Buckets:
    """All buckets of one worker. Only full ones are ever forgotten: a full bucket is the same as none, and so no
    caller gains by making others.
    """

    clock: Callable[[], float]
    share: float = 1.0
    most: int = MOST_BUCKETS
    _buckets: OrderedDict[BucketKey, Bucket] = field(default_factory=OrderedDict)
    charged: OrderedDict[tuple[str, str], Turned | None] = field(default_factory=OrderedDict)
    """Streams that were judged, by policy and id, and how."""

    def size(self, limit: RateLimit) -> float:
        """Tokens of a full bucket in this worker."""
        return max(1.0, limit.burst * self.share)

    def rate(self, limit: RateLimit) -> float:
        """Tokens per second in this worker."""
        return limit.per_second * self.share

    def level(self, key: BucketKey, limit: RateLimit, now: float) -> Bucket | None:
        """The bucket refilled up to now, or None when there is no room for a new one."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self.most and not self._forget_full(now):
                return None
            bucket = self._buckets[key] = Bucket(tokens=self.size(limit), at=now)
            return bucket
        tokens = bucket.tokens + (now - bucket.at) * limit.per_second * self.share
        if tokens > limit.burst * self.share:  # as nearly always
            tokens = min(tokens, self.size(limit))
        bucket.tokens = tokens
        bucket.at = now
        self._buckets.move_to_end(key)
        return bucket

    def _forget_full(self, now: float) -> bool:
        """Look at some of the longest unused buckets and forget those that have refilled."""
        freed = False
        for _ in range(min(_SWEPT, len(self._buckets))):
            key, bucket = next(iter(self._buckets.items()))
            _, _, per_second, burst, _ = key
            if bucket.tokens + (now - bucket.at) * per_second * self.share >= max(1.0, burst * self.share):
                del self._buckets[key]
                freed = True
            else:
                self._buckets.move_to_end(key)
        return freed

    def remember(self, policy: str, stream_id: str, outcome: Turned | None) -> None:
        """How a stream was judged: `charged` says it again."""
        if stream_id:
            charged = self.charged
            charged[policy, stream_id] = outcome
            if len(charged) > _MOST_CHARGED:
                charged.popitem(last=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRate:
    """The request rates of one policy."""

    policy: str
    limits: Sequence[RateLimit]
    buckets: Buckets

    def admit(self, identity: Identity, stream_id: str) -> Turned | None:
        charged = self.buckets.charged
        if (self.policy, stream_id) in charged:
            return charged[self.policy, stream_id]
        outcome = self._charge(identity)
        self.buckets.remember(self.policy, stream_id, outcome)
        return outcome

    def _charge(self, identity: Identity) -> Turned | None:
        """Take one token of every bucket, or none of any."""
        now = self.buckets.clock()
        levels: list[Bucket] = []
        longest = 0.0
        refused_by = ""
        for limit in self.limits:
            key = (self.policy, limit.per, limit.per_second, limit.burst, _caller(limit, identity))
            bucket = self.buckets.level(key, limit, now)
            if bucket is None:
                return Turned(cause=Cause.OVERLOADED, retry_after=1.0, detail="buckets_full")
            levels.append(bucket)
            if bucket.tokens < 1.0:
                wait = (1.0 - bucket.tokens) / self.buckets.rate(limit)
                if wait > longest:
                    longest, refused_by = wait, f"per_{limit.per}"
        if refused_by:
            return Turned(cause=Cause.RATE_LIMITED, retry_after=longest, detail=refused_by)
        for bucket in levels:
            bucket.tokens -= 1.0
        return None


def _caller(limit: RateLimit, identity: Identity) -> str:
    """Whose bucket it is; every caller's of a sidecar's limit."""
    per = limit.per
    if per == "key":
        return identity.key_id or identity.subject
    return identity.tenant if per == "tenant" else ""
