"""Request rates: token buckets per key, tenant or sidecar. Each worker holds its share (1/workers) of every bucket.

Buckets outlive plans, so that publishing a policy refills nobody; only authenticated callers get one. A retried call
that reaches another worker is charged there too: it comes out of that worker's share.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bartizan.policy.bundle import RateLimit
from sidecar.checks.admission.base import Turned
from sidecar.model.decision import Cause
from sidecar.model.request import Identity
from sidecar.model.value import Value

MOST_BUCKETS = 100_000
_MOST_CHARGED = 16_384
_SWEPT = 64
_MOST_KNOWN = 4096
_LONGEST_CALLER = 128


class Share(Value, frozen=True, kw_only=True, cache_hash=True):
    """Whose bucket it is, and of what limit. Looked up for each request, so that it is made once and hashed once."""

    policy: str
    per: str
    per_second: float
    burst: int
    caller: str


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
    _buckets: OrderedDict[Share, Bucket] = field(default_factory=OrderedDict)
    charged: dict[tuple[str, str], Turned | None] = field(default_factory=dict)
    """Streams that were judged, by policy and id, and how."""
    newest: deque[tuple[str, str]] = field(default_factory=deque)
    """The same in their order. Beside a dict it costs half of what an OrderedDict does."""

    def size(self, key: Share) -> float:
        """Tokens of a full bucket in this worker."""
        return max(1.0, key.burst * self.share)

    def level(self, key: Share, now: float) -> Bucket | None:
        """The bucket refilled up to now, or None when there is no room for a new one."""
        buckets = self._buckets
        bucket = buckets.get(key)
        if bucket is None:
            if len(buckets) >= self.most and not self._forget_full(now):
                return None
            bucket = buckets[key] = Bucket(tokens=self.size(key), at=now)
            return bucket
        share = self.share
        tokens = bucket.tokens + (now - bucket.at) * key.per_second * share
        size = key.burst * share
        if tokens > size:  # at least one, as in `size`
            tokens = size if size > 1.0 else min(tokens, 1.0)
        bucket.tokens = tokens
        bucket.at = now
        buckets.move_to_end(key)
        return bucket

    def _forget_full(self, now: float) -> bool:
        """Look at some of the longest unused buckets and forget those that have refilled."""
        freed = False
        for _ in range(min(_SWEPT, len(self._buckets))):
            key, bucket = next(iter(self._buckets.items()))
            if bucket.tokens + (now - bucket.at) * key.per_second * self.share >= self.size(key):
                del self._buckets[key]
                freed = True
            else:
                self._buckets.move_to_end(key)
        return freed


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRate:
    """The request rates of one policy."""

    policy: str
    limits: Sequence[RateLimit]
    buckets: Buckets
    _known: dict[Identity, tuple[Share, ...]] = field(default_factory=dict, repr=False)
    """Which buckets are a caller's; never how full they are."""

    def admit(self, identity: Identity, stream_id: str) -> Turned | None:
        buckets, stream = self.buckets, (self.policy, stream_id)
        charged = buckets.charged
        if stream in charged:
            return charged[stream]
        outcome = self._charge(identity)
        if stream_id:
            charged[stream] = outcome
            buckets.newest.append(stream)
            if len(charged) > _MOST_CHARGED:
                del charged[buckets.newest.popleft()]
        return outcome

    def _charge(self, identity: Identity) -> Turned | None:
        """Take one token of every bucket, or none of any."""
        buckets = self.buckets
        now = buckets.clock()
        shares = self._known.get(identity) or self._shares(identity)
        if len(shares) == 1:  # most policies have one limit
            only = buckets.level(shares[0], now)
            if only is not None and only.tokens >= 1.0:
                only.tokens -= 1.0
                return None
        levels: list[Bucket] = []
        longest = 0.0
        refused_by = ""
        for key in shares:
            bucket = buckets.level(key, now)
            if bucket is None:
                return Turned(cause=Cause.OVERLOADED, retry_after=1.0, detail="buckets_full")
            levels.append(bucket)
            if bucket.tokens < 1.0:
                wait = (1.0 - bucket.tokens) / (key.per_second * buckets.share)
                if wait > longest:
                    longest, refused_by = wait, f"per_{key.per}"
        if refused_by:
            return Turned(cause=Cause.RATE_LIMITED, retry_after=longest, detail=refused_by)
        for bucket in levels:
            bucket.tokens -= 1.0
        return None

    def _shares(self, identity: Identity) -> tuple[Share, ...]:
        shares = tuple(
            Share(
                policy=self.policy,
                per=limit.per,
                per_second=limit.per_second,
                burst=limit.burst,
                caller=_caller(limit, identity),
            )
            for limit in self.limits
        )
        if identity.brief:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[identity] = shares
        return shares


def _caller(limit: RateLimit, identity: Identity) -> str:
    """Whose bucket it is; every caller's of a sidecar's limit. Bounded, as a token may name its subject in 6 KB."""
    if limit.per == "sidecar":
        return ""
    who = identity.tenant if limit.per == "tenant" else identity.key_id or identity.subject
    return who if len(who) <= _LONGEST_CALLER else hashlib.sha256(who.encode()).hexdigest()
