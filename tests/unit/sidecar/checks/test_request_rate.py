"""Token buckets: no more than burst + rate x time, whatever the pattern, and nobody refills by crowding others out."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.policy.bundle import RateLimit
from sidecar.checks.admission import request_rate
from sidecar.checks.admission.base import Turned
from sidecar.checks.admission.request_rate import _MOST_KNOWN, Buckets, RequestRate
from sidecar.model.decision import Cause
from sidecar.model.request import Identity


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def caller(name: str, tenant: str = "acme") -> Identity:
    return Identity(subject=name, tenant=tenant, method="api_key", key_id=name)


def rate(buckets: Buckets, *limits: RateLimit) -> RequestRate:
    return RequestRate(policy="p", limits=limits, buckets=buckets)


@given(
    st.lists(st.floats(min_value=0, max_value=5), max_size=60),
    st.integers(min_value=1, max_value=10),
    st.floats(min_value=0.1, max_value=20),
    st.integers(min_value=1, max_value=4),
)
def test_never_more_than_burst_plus_rate_times_time(
    pauses: list[float], burst: int, per_second: float, workers: int
) -> None:
    clock = Clock()
    share = 1 / workers
    check = rate(Buckets(clock=clock, share=share), RateLimit(per="key", per_second=per_second, burst=burst))
    granted = 0
    for number, pause in enumerate(pauses):
        clock.now += pause
        granted += check.admit(caller("a"), str(number)) is None
        assert granted <= max(1.0, burst * share) + clock.now * per_second * share + 1e-6


def test_retry_after_is_when_a_token_is_there() -> None:
    clock = Clock()
    check = rate(Buckets(clock=clock), RateLimit(per="key", per_second=0.5, burst=1))
    assert check.admit(caller("a"), "1") is None
    turned = check.admit(caller("a"), "2")
    assert turned == Turned(cause=Cause.RATE_LIMITED, retry_after=2.0, detail="per_key")
    clock.now += turned.retry_after
    assert check.admit(caller("a"), "3") is None


def test_keys_have_buckets_of_their_own_and_tenants_share_one() -> None:
    check = rate(
        Buckets(clock=Clock()),
        RateLimit(per="key", per_second=1, burst=1),
        RateLimit(per="tenant", per_second=1, burst=2),
    )
    assert check.admit(caller("a"), "1") is None
    assert check.admit(caller("b"), "2") is None
    third = check.admit(caller("c"), "3")
    assert third is not None
    assert third.detail == "per_tenant"
    assert check.admit(caller("d", "globex"), "4") is None


def test_a_refusal_takes_no_token_of_any_bucket() -> None:
    clock = Clock()
    check = rate(
        Buckets(clock=clock),
        RateLimit(per="key", per_second=1, burst=1),
        RateLimit(per="sidecar", per_second=0.001, burst=2),
    )
    assert check.admit(caller("a"), "1") is None
    for number in range(5):
        assert check.admit(caller("a"), f"again-{number}") is not None
    assert check.admit(caller("b"), "2") is None


def test_a_repeated_stream_is_charged_and_answered_once() -> None:
    check = rate(Buckets(clock=Clock()), RateLimit(per="key", per_second=0.001, burst=1))
    assert [check.admit(caller("a"), "same") for _ in range(3)] == [None, None, None]
    refused = check.admit(caller("a"), "other")
    assert refused is not None
    assert check.admit(caller("a"), "other") == refused


def test_an_exhausted_bucket_survives_a_crowd() -> None:
    clock = Clock()
    check = rate(Buckets(clock=clock, most=3), RateLimit(per="key", per_second=0.001, burst=1))
    assert check.admit(caller("victim"), "v1") is None
    crowd = [check.admit(caller(f"c{number}"), str(number)) for number in range(20)]
    assert [turned.cause for turned in crowd if turned is not None] == [Cause.OVERLOADED] * 18
    assert check.admit(caller("victim"), "v2") is not None
    clock.now += 2000  # all have refilled: they may be forgotten
    assert check.admit(caller("late"), "l") is None


def test_a_plan_that_comes_again_refills_nobody_and_another_limit_has_a_bucket_of_its_own() -> None:
    buckets = Buckets(clock=Clock())
    limit = RateLimit(per="key", per_second=0.001, burst=1)
    assert rate(buckets, limit).admit(caller("a"), "1") is None
    assert rate(buckets, limit).admit(caller("a"), "2") is not None
    wider = RateLimit(per="key", per_second=0.001, burst=2)
    assert rate(buckets, wider).admit(caller("a"), "3") is None


def test_a_key_that_moves_to_another_tenant_takes_that_tenants_tokens() -> None:
    check = rate(Buckets(clock=Clock()), RateLimit(per="tenant", per_second=0.001, burst=1))
    assert check.admit(caller("a"), "1") is None
    assert check.admit(caller("a", "globex"), "2") is None
    assert [check.admit(caller("b", tenant), tenant) is None for tenant in ("acme", "globex")] == [False] * 2


def test_a_bucket_outlives_what_is_remembered_of_its_caller() -> None:
    check = rate(Buckets(clock=Clock()), RateLimit(per="key", per_second=0.001, burst=1))
    assert check.admit(caller("victim"), "v1") is None
    for number in range(_MOST_KNOWN):
        check.admit(caller(f"c{number}"), str(number))
    assert caller("victim") not in check._known
    assert check.admit(caller("victim"), "v2") is not None
    assert len(check._known) <= _MOST_KNOWN


def test_a_worker_told_its_share_later_has_no_more_than_it() -> None:
    clock = Clock()
    buckets = Buckets(clock=clock)
    check = rate(buckets, RateLimit(per="key", per_second=1.0, burst=4))
    assert check.admit(caller("a"), "1") is None
    buckets.share = 0.5
    clock.now += 100
    granted = [check.admit(caller("a"), f"again-{number}") is None for number in range(4)]
    assert granted == [True, True, False, False]


def test_callers_with_long_names_have_buckets_of_their_own_and_cost_no_more() -> None:
    buckets = Buckets(clock=Clock())
    for per in ("key", "tenant"):
        check = rate(buckets, RateLimit(per=per, per_second=0.001, burst=1))
        for number, admitted in (("1", True), ("2", True), ("1", False)):
            long = Identity(subject="s" * 5000 + number, tenant="t" * 5000 + number, method="jwt")
            assert (check.admit(long, "") is None) is admitted
        assert not check._known, "of each of some thousand callers its name would be kept"
    assert max(len(share.caller) for share in buckets._buckets) <= 128


def test_of_streams_that_were_judged_the_oldest_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_rate, "_MOST_CHARGED", 2)
    buckets = Buckets(clock=Clock())
    check = rate(buckets, RateLimit(per="key", per_second=0.001, burst=4))
    assert [check.admit(caller("a"), stream) for stream in ("1", "2", "3", "3", "2")] == [None] * 5
    assert [stream for _, stream in buckets.charged] == ["2", "3"], "three tokens are taken"
    assert check.admit(caller("a"), "1") is None
    assert check.admit(caller("a"), "4") is not None, "the first stream was charged again"
    assert len(buckets.newest) == len(buckets.charged) == 2
