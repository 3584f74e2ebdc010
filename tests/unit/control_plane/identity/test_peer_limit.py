"""The limit on attestations: a bucket per address, refilled by time, for a bounded number of addresses."""

from __future__ import annotations

from control_plane.identity.attest import PeerLimit


def test_an_address_gets_its_burst_and_then_its_rate() -> None:
    now = [0.0]
    limit = PeerLimit(rate=1.0, burst=3.0, clock=lambda: now[0])
    assert [limit.admit("a") for _ in range(4)] == [True, True, True, False]
    assert limit.admit("b")
    now[0] = 1.0
    assert [limit.admit("a") for _ in range(2)] == [True, False]
    now[0] = 100.0
    assert [limit.admit("a") for _ in range(4)] == [True, True, True, False]


def test_memory_is_bounded_and_busy_addresses_are_remembered() -> None:
    limit = PeerLimit(rate=0.0, burst=1.0, addresses=10, clock=lambda: 0.0)
    assert limit.admit("busy")
    for number in range(100):
        limit.admit(f"other-{number}")
        assert not limit.admit("busy")
    assert len(limit._buckets) <= 10


def test_good_attestations_do_not_use_up_the_limit() -> None:
    limit = PeerLimit(rate=0.0, burst=2.0, clock=lambda: 0.0)
    for _ in range(10):
        assert limit.admit("a")
        limit.give_back("a")
    assert [limit.admit("a") for _ in range(3)] == [True, True, False]
