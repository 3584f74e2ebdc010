"""An issuer changes its keys while callers ask: no token is refused that was good, none admitted that had ended.

Envoy verifies by itself, with the keys that the agent fetches again and serves by ECDS.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from tests.e2e.test_native_tokens import World, native_world
from tests.support.raw_client import wait_until
from tests.support.token_cases import bearer
from tests.support.tokens import KID

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("native-tokens")]

ROTATIONS = int(os.environ.get("BARTIZAN_TEST_ROTATIONS", "3"))
CLIENTS = 3
SURE = 20
"""So many answers in a row: each of Envoy's threads takes new keys by itself."""
WITHIN = 60.0


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with native_world(BARTIZAN_JWKS_REFRESH="1") as made:
        yield made


@dataclass(slots=True)
class Traffic:
    """Callers with one token of each key, over and over, so that Envoy's memory of verified tokens is in it, too."""

    world: World
    tokens: dict[str, str] = field(default_factory=dict)
    wanted: dict[str, int | None] = field(default_factory=dict)
    """By key: the one right status; None while the keys travel."""
    wrong: list[tuple[str, int, int]] = field(default_factory=list)
    seen: Counter[tuple[str, int]] = field(default_factory=Counter)
    by_envoy: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    def add(self, kid: str, wanted: int) -> None:
        self.tokens[kid] = self.world.issuer.signed(header={"kid": kid})
        self.wanted[kid] = wanted

    def play(self, offset: int) -> None:
        at = offset
        while not self.done.is_set():
            at += 1
            kid = list(self.tokens)[at % len(self.tokens)]
            before = self.wanted[kid]
            status, by_envoy = self.ask(self.tokens[kid])
            self.seen[kid, status] += 1
            self.by_envoy += by_envoy and status == 200
            # a guard that is behind sheds with 503: refused as well
            right = status == before or (before == 401 and status == 503)
            if before is not None and before == self.wanted[kid] and not right:
                self.wrong.append((kid, before, status))

    def ask(self, token: str) -> tuple[int, bool]:
        """The status, and whether the guard was not asked. 0: nobody answered."""
        try:
            answer = self.world.ask(bearer(token))
        except OSError:
            return 0, False
        return answer.status, "-" in answer.headers.get("x-bartizan-decision", "")

    def settle(self, kid: str, good: Callable[[int, bool], bool]) -> None:
        """Until every answer about this key's tokens, the known one and one that nobody has seen yet, is so."""

        def sure() -> bool:
            fresh = self.world.issuer.signed(header={"kid": kid})
            return all(good(*self.ask(token)) for token in (self.tokens[kid], fresh) * (SURE // 2))

        assert wait_until(sure, WITHIN), (kid, self.seen, self.world.sidecar.log()[-3000:])


def test_keys_are_rotated_under_traffic_without_a_wrong_decision(world: World) -> None:
    traffic, issuer = Traffic(world), world.issuer
    traffic.add(KID, 200)
    traffic.settle(KID, lambda status, by_envoy: status == 200 and by_envoy)
    clients = [threading.Thread(target=traffic.play, args=(number,)) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    old = KID
    try:
        for number in range(2, 2 + ROTATIONS):
            new = f"k-{number}"
            issuer.new_key(new)
            traffic.add(new, 401)
            traffic.settle(new, lambda status, _: status == 401)

            traffic.wanted[new] = None
            issuer.published = (old, new)
            traffic.settle(new, lambda status, by_envoy: status == 200 and by_envoy)
            traffic.wanted[new] = 200

            traffic.wanted[old] = None
            issuer.published = (new,)
            traffic.settle(old, lambda status, _: status == 401)
            traffic.wanted[old] = 401
            old = new
        fetched = len(issuer.served)
        assert wait_until(lambda: len(issuer.served) > fetched + 1, WITHIN), "nothing changes any more"
    finally:
        traffic.done.set()
        for client in clients:
            client.join()
    assert not traffic.wrong, (Counter(traffic.wrong), traffic.seen)
    assert {kid for kid, status in traffic.seen if status == 200} == set(traffic.tokens)
    assert traffic.by_envoy > ROTATIONS * SURE
    print(f"{ROTATIONS} rotations: {dict(traffic.seen)}, {traffic.by_envoy} let in by Envoy, 0 wrong")
