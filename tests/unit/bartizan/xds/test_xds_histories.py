"""Rules of the state-of-the-world protocol, as properties over any history."""

from __future__ import annotations

from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from bartizan.policy.names import (
    TYPE_CLUSTER,
    TYPE_KEY_SET,
)
from bartizan.xds.subscription import (
    EVERYTHING,
    FULL_STATE,
    Interest,
    Request,
    Response,
    Stale,
    Stream,
    Subscribed,
)


def stream() -> Stream[int]:
    numbers = count(1)
    return Stream(lambda: f"n{next(numbers)}")


NAMES = ("a", "b", "c")
TYPES = (TYPE_CLUSTER, TYPE_KEY_SET)


class Histories(RuleBasedStateMachine):
    """A real Interest on a lossy client side against a real Stream, with snapshots, refusals and reconnects."""

    @initialize(type_url=st.sampled_from(TYPES))
    def start(self, type_url: str) -> None:
        self.type_url = type_url
        self.interest = Interest(type_url=type_url)
        self.version = 0
        self.items: dict[str, int] = {}
        self.have: dict[str, int] = {}
        self.refused = False
        self.asked_anew = False
        self.new_stream()

    def new_stream(self) -> None:
        self.subject = stream()
        self.nonces: set[str] = set()
        self.in_flight: list[Response[int]] = []
        self.interest.new_stream()
        self.tell()
        self.pump()

    def tell(self) -> None:
        for event in self.subject.receive(self.interest.request()):
            if isinstance(event, Subscribed):
                self.subject.allow(self.type_url, event.names)

    def pump(self) -> None:
        response = self.subject.due(self.type_url, str(self.version), dict(self.items))
        if response is not None:
            assert response.nonce not in self.nonces, "a nonce is used once per stream"
            assert not self.in_flight, "one unanswered response per type"
            self.nonces.add(response.nonce)
            self.asked_anew = False
            self.in_flight.append(response)

    @rule(changes=st.dictionaries(st.sampled_from(NAMES), st.none() | st.integers(0, 3), min_size=1))
    def publish(self, changes: dict[str, int | None]) -> None:
        merged: dict[str, int | None] = {**self.items, **changes}
        now = {name: value for name, value in merged.items() if value is not None}
        if now != self.items:
            self.items, self.version = now, self.version + 1
        self.pump()

    @rule(names=st.one_of(st.just(EVERYTHING), st.frozensets(st.sampled_from(NAMES), min_size=1)))
    def resubscribe(self, names: frozenset[str]) -> None:
        self.interest.want(names)
        self.asked_anew = True
        if "*" not in names:
            self.have = {name: value for name, value in self.have.items() if name in names}
        self.tell()
        self.pump()

    @rule(accept=st.booleans())
    def answer(self, accept: bool) -> None:
        if not self.in_flight:
            return
        response = self.in_flight.pop()
        if accept:
            self.take(response)
        else:
            self.interest.rejected("no", response.nonce)
            self.refused = True
        self.tell()
        following = self.subject.due(self.type_url, str(self.version), dict(self.items))
        if following is not None:
            assert self.asked_anew or self.version != int(response.version), (
                "a refused or accepted version comes back only when something changed"
            )
            self.asked_anew = False
            self.nonces.add(following.nonce)
            self.in_flight.append(following)

    def take(self, response: Response[int]) -> None:
        wanted = self.interest.names
        got = {name: value for name, value in response.items.items() if "*" in wanted or name in wanted}
        self.have = got if self.type_url in FULL_STATE else {**self.have, **got}
        self.interest.accepted(response.version, response.nonce)

    @rule()
    def stale_answer(self) -> None:
        stale = Request(type_url=self.type_url, names=("a",), nonce="never-made-here", error="old")
        assert self.subject.receive(stale) == (Stale(type_url=self.type_url, nonce="never-made-here"),)
        assert self.subject.due(self.type_url, str(self.version), dict(self.items)) is None

    @rule()
    def reconnect(self) -> None:
        self.new_stream()

    def teardown(self) -> None:
        """Whatever happened: when every further answer is yes, the subscriber ends with the newest set."""
        if not hasattr(self, "subject"):
            return
        if self.refused:  # nothing refused comes back by itself, not even "none": change every item once
            self.items = {name: self.items.get(name, 0) + 10 for name in NAMES}
            self.version += 1
        for _ in range(10):
            self.pump()
            if not self.in_flight:
                break
            self.take(self.in_flight.pop())
            self.tell()
        wanted = self.interest.names
        expected = {name: value for name, value in self.items.items() if "*" in wanted or name in wanted}
        if self.type_url in FULL_STATE:
            assert self.have == expected
        else:
            assert {name: self.have.get(name) for name in expected} == expected


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
