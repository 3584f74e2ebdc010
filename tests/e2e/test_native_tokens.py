"""Tokens that Envoy judges by itself: no status differs from the guard's, and no bad token passes while plans flip.

One agent with real Envoy and a real worker; the same policy is enforced with and without a reason to ask the guard.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bartizan.policy.keyset import KeyRecord, KeySet, key_hash, new_key
from tests.support.local_sidecar import LocalSidecar, enforced
from tests.support.raw_client import shed, wait_until
from tests.support.raw_model import RawModel
from tests.support.token_cases import NATIVE, Headers, bearer, cases
from tests.support.tokens import AUDIENCE, Issuer

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("native-tokens")]
KEY = new_key()
FLIPS = int(os.environ.get("BARTIZAN_TEST_FLIPS", "12"))
SPEC: dict[str, Any] = {
    "selector": {"matchLabels": {"app": "native"}},
    "listener": {"address": "127.0.0.1", "port": "{port}", "tls": "none"},
    "model": {"name": "m", "protocol": "json_fields", "port": "{model}"},
    "routes": [{"path": "/in", "inputText": ["$.text"]}],
    "tenants": ["acme", "globex"],
    "authn": {
        "jwt": [
            {
                "issuer": "{issuer}",
                "audiences": [AUDIENCE, "https://other.example/"],
                "jwksUri": "{issuer}/jwks",
                "claims": {"tenant": "org", "plan": "plan"},
            }
        ]
    },
}
RATES = {"limits": {"requests": [{"per": "sidecar", "rate": "1000000/s"}]}}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]


@dataclass(slots=True)
class World:
    sidecar: LocalSidecar
    model: RawModel
    issuer: Issuer
    version: int = 1

    def use(self, **spec: Any) -> None:
        self.version += 1
        text = document(**spec).replace("{issuer}", self.issuer.url)
        self.sidecar.publish(self.sidecar.signed(self.version, text))
        self.sidecar.until(lambda now: enforced(now, self.version))

    def ask(self, headers: Headers, path: str = "/in", body: bytes = b'{"text": "hi"}') -> Answer:
        """Asked again where the answer came only of waiting."""
        for _ in range(20):
            asked = time.monotonic()
            answer = self._asked(headers, path, body)
            if not shed(answer.status, asked):
                break
        return answer

    def _asked(self, headers: Headers, path: str, body: bytes) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.sidecar.port, timeout=20)
        with contextlib.closing(connection):
            connection.putrequest("POST", path)
            given = [("content-type", "application/json"), ("content-length", str(len(body))), *headers]
            for name, value in given:
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            response.read()
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()})

    def record(self, answer: Answer) -> Mapping[str, Any]:
        decision = answer.headers["x-bartizan-decision"]
        found: list[Mapping[str, Any]] = []

        def there() -> bool:
            found[:] = [one for one in self.sidecar.records() if one["id"] == decision]
            return bool(found)

        assert wait_until(there), f"no record {decision}"
        assert len(found) == 1
        return found[0]


def document(**spec: Any) -> str:
    text = json.dumps(
        {
            "apiVersion": "bartizan.dev/v1alpha1",
            "kind": "ModelPolicy",
            "metadata": {"name": "native"},
            "spec": {**SPEC, **spec},
        }
    )
    return text.replace('"{port}"', "{port}").replace('"{model}"', "{model}")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with native_world() as made:
        yield made


@contextlib.contextmanager
def native_world(**environment: str) -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="bz-") as folder:
        issuer, model = Issuer(Path(folder)), RawModel()
        keys = KeySet(name="keys", version=1, keys=(KeyRecord(id="k", hash=key_hash(KEY), tenant="acme"),))
        sidecar = LocalSidecar(
            document().replace("{issuer}", issuer.url),
            model.port,
            keys,
            SSL_CERT_FILE=str(issuer.ca_file),
            BARTIZAN_JWKS_ALLOW=issuer.address,
            **environment,
        )
        try:
            sidecar.start()
            yield World(sidecar, model, issuer)
        finally:
            sidecar.close()
            issuer.close()
            model.down()


def test_no_status_differs_between_envoy_and_the_guard(world: World) -> None:
    for spec in (RATES, {}):
        world.use(**spec)
        table = cases(world.issuer, KEY)  # some are good for a while only
        wanted = {name: status for name, (_, status) in table.items()}
        answers = {name: world.ask(headers) for name, (headers, _) in table.items()}
        assert {name: answer.status for name, answer in answers.items()} == wanted
        for name, answer in answers.items():
            record = world.record(answer)
            by_envoy = not spec and name in NATIVE
            if by_envoy or answer.status != 200 or spec:
                assert record["source"] == ("envoy" if by_envoy else "guard"), name
            assert record["action"] == ("allow" if answer.status == 200 else "deny")
    # the same token by the query is none
    token = world.issuer.signed()
    assert world.ask([], path=f"/in?access_token={token}").status == 401


def test_the_model_sees_no_token_and_audit_who_called(world: World) -> None:
    world.use()
    world.model.received.clear()
    answer = world.ask(bearer(world.issuer.signed(claims={"sub": "jane"})))
    assert answer.status == 200
    (seen,) = world.model.received
    assert b"authorization" not in seen.head.lower()
    assert b"x-bartizan" not in seen.head.lower()
    native = world.record(answer)
    world.use(**RATES)
    by_guard = world.record(world.ask(bearer(world.issuer.signed(claims={"sub": "jane"}))))
    for name in ("tenant", "subject_hash", "path", "method", "policy", "cause", "action", "source_address"):
        assert native[name] == by_guard[name]
    assert (native["source"], native["phase"], native["status"]) == ("envoy", "native", 200)
    assert len(native["trace_id"]) == 32
    assert seen.headers["traceparent"].split("-")[1] == native["trace_id"], "of Envoy's own tracer"
    assert "jane" not in json.dumps(native)
    assert b'bartizan_decisions_total{action="allow",cause="allowed",phase="native"}' in world.sidecar.fetch(
        "/metrics"
    )


def test_a_size_limit_holds_for_whom_envoy_let_in(world: World) -> None:
    world.use(limits={"body": {"max": "1000B"}})
    answer = world.ask(bearer(world.issuer.signed()), body=b'{"text": "' + b"a" * 1000 + b'"}')
    assert answer.status == 413
    assert world.ask(bearer(world.issuer.signed())).status == 200


def test_good_tokens_pass_without_any_guard_and_no_other_does(world: World) -> None:
    world.use()
    pids = world.sidecar.status()["workers"]["pids"]
    assert world.ask(bearer(world.issuer.signed())).status == 200
    os.kill(pids[0], signal.SIGSTOP)
    try:
        assert world.ask(bearer(world.issuer.signed())).status == 200
        assert world.ask(bearer(world.issuer.token("expired"))).status in {401, 503}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[0], signal.SIGCONT)
    world.sidecar.until(lambda now: enforced(now, world.version))


@pytest.mark.timeout(120 + 15 * FLIPS)
def test_no_bad_token_passes_while_plans_flip_under_load(world: World) -> None:
    """Between Envoy and the guard as judge (a change of routes), and other keys for callers (a change of the chain)."""
    others = {"authn": {**SPEC["authn"], "apiKeys": {"set": "keys"}}}
    plans: tuple[dict[str, Any], ...] = ({}, RATES, {}, others)
    # a key beside the token is right for one of these plans
    bad = [
        headers
        for name, (headers, status) in cases(world.issuer, KEY).items()
        if status == 401 and name not in {"nothing", "with a key"}
    ]
    good = bearer(world.issuer.signed())
    admitted: list[Headers] = []
    seen: Counter[tuple[bool, int]] = Counter()
    done = threading.Event()

    def load(offset: int) -> None:
        at = offset
        while not done.is_set():
            at += 1
            is_bad = at % 4 != 0
            headers = bad[at % len(bad)] if is_bad else good
            try:
                status = world.ask(headers).status
            except OSError:
                status = 0  # the old chain's connection
            seen[is_bad, status] += 1
            if is_bad and status == 200:
                admitted.append(headers)

    world.use()
    clients = [threading.Thread(target=load, args=(number * 7,)) for number in range(3)]
    for client in clients:
        client.start()
    try:
        for flip in range(FLIPS):
            world.use(**plans[flip % len(plans)])
    finally:
        done.set()
        for client in clients:
            client.join()
    assert not admitted, Counter(map(str, admitted))
    assert seen[True, 401] > FLIPS
    assert seen[False, 200] > FLIPS
    print(f"{FLIPS} flips: {dict(seen)}")


def test_after_a_restart_of_envoy_it_has_the_keys_again(world: World) -> None:
    world.use()
    old = world.sidecar.status()["envoy"]["pid"]
    os.kill(old, signal.SIGKILL)
    world.sidecar.until(
        lambda now: enforced(now, world.version) and now["envoy"]["pid"] not in {0, None, old}
    )

    def by_envoy() -> bool:
        with contextlib.suppress(OSError):
            answer = world.ask(bearer(world.issuer.signed()))
            return answer.status == 200 and "-" in answer.headers["x-bartizan-decision"]
        return False

    assert wait_until(by_envoy)
    assert world.ask(bearer(world.issuer.token("critical"))).status == 401
