"""What goes missing between Envoy's access log and the agent is counted once, and nothing else is."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.audit.ledger import BROKEN, FULL, LOOKS, Ledger


def play(*looks: tuple[int, int, int]) -> dict[str, int]:
    """Looks as (written, dropped, received); what all of them called lost."""
    ledger, lost = Ledger(), {FULL: 0, BROKEN: 0}
    for look in looks:
        for reason, count in ledger.look(*look).items():
            lost[reason] += count
    return lost


@pytest.mark.parametrize(
    ("looks", "full", "broken"),
    [
        pytest.param([(0, 0, 0)] * 99, 0, 0, id="nothing happens"),
        pytest.param([(5, 0, 5)] * 99, 0, 0, id="all came"),
        pytest.param([(5, 0, 0)] * (LOOKS - 1), 0, 0, id="still on their way"),
        pytest.param([(5, 0, 0)] * LOOKS, 0, 5, id="did not come in time"),
        pytest.param([(5, 0, 3)] * 99, 0, 2, id="some came"),
        pytest.param([(5, 2, 5), (5, 2, 5), (5, 7, 5)], 7, 0, id="the buffer was full, twice"),
        pytest.param(
            [*[(100 * n, 0, 100 * n - 7) for n in range(99)], *[(9800, 0, 9793)] * LOOKS],
            0,
            7,
            id="after load",
        ),
        pytest.param([*[(5, 0, 0)] * LOOKS, *[(5, 0, 5)] * 99], 0, 5, id="came late"),
        pytest.param(
            [*[(5, 0, 0)] * LOOKS, (5, 0, 5), *[(9, 0, 5)] * (LOOKS + 1)],
            0,
            9,
            id="came late, then others did not",
        ),
        pytest.param([*[(5, 0, 3)] * LOOKS, *[(9, 0, 6)] * LOOKS], 0, 3, id="twice some"),
    ],
)
def test_every_loss_is_counted_once(looks: list[tuple[int, int, int]], full: int, broken: int) -> None:
    assert play(*looks) == {FULL: full, BROKEN: broken}


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3), st.integers(0, 9)), max_size=60))
def test_when_all_is_quiet_what_is_missing_is_what_was_called_lost(steps: list[tuple[int, int, int]]) -> None:
    """Entries come within the time for it, or never."""
    ledger, written, lost, called = Ledger(), 0, 0, 0
    coming: Counter[int] = Counter()
    for look, (more, never, delay) in enumerate([*steps, *[(0, 0, 0)] * (2 * LOOKS)]):
        received = ledger.received
        written += more
        lost += min(never, more)
        coming[look + min(delay, LOOKS - 2)] += more - min(never, more)
        called += ledger.look(written, 0, received).get(BROKEN, 0)
        assert called <= lost
        ledger.received += coming[look]
    assert called == lost
    assert ledger.behind == 0


def test_what_an_envoy_had_not_sent_when_it_ended_is_known() -> None:
    ledger = Ledger()
    ledger.received = 6
    assert ledger.behind == 0
    ledger.look(10, 0, 6)
    assert ledger.behind == 4
    ledger.received = 9
    assert ledger.behind == 1
