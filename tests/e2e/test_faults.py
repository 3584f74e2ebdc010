"""Bad input and faults, one row of faults.yaml each, against real Envoy, agent and worker.

Every row is judged by what the client got, what the audit record says, and what the model's own counter saw.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bartizan.policy.keyset import KeyRecord, KeySet, key_hash, new_key
from tests.support.fault_table import Played, Row, Stand, described, play, read_rows, records_of
from tests.support.local_sidecar import LocalSidecar, enforced
from tests.support.raw_model import RawModel
from tests.support.tokens import AUDIENCE, Issuer

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("sidecar")]

ROWS = read_rows(Path(__file__).with_name("faults.yaml"))

HEAD = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {name: {name}}
spec:
  selector: {matchLabels: {app: faults}}
  listener: {address: 127.0.0.1, port: {port}, tls: none}
  tenants: [acme, globex]
"""
POLICIES = {
    "fields": HEAD
    + """
  model: {name: fields, protocol: json_fields, port: {model}}
  routes:
    - {path: /predict, inputText: [$.text], outputText: [$.echo], outputScores: [$.probabilities]}
    - {path: /info, method: GET, outputText: [$.echo]}
  authn:
    apiKeys: {set: keys}
    jwt: [{issuer: "{issuer}", jwksUri: "{issuer}/jwks", audiences: [{audience}], claims: {tenant: org}}]
  limits: {body: {max: 64KiB, jsonDepth: 16}}
  input: [{sanitize: {}}, {promptInjection: {}}, {pii: {action: redact}}]
  output: [{canary: {tokens: [canary-7f3a9c21]}}, {pii: {action: redact}}, {probabilities: {decimals: 2}}]
""",
    "chat": HEAD
    + """
  model: {name: chat, protocol: openai, port: {model}}
  authn: {apiKeys: {set: keys}}
  authz: [{name: no-beta, deny: 'request.model == "beta"'}]
  limits: {body: {max: 1MiB}}
  input: [{promptInjection: {}}]
  output: [{canary: {tokens: [canary-7f3a9c21]}}, {pii: {action: redact}}]
""",
    "plain": HEAD
    + """
  model: {name: plain, protocol: opaque, port: {model}}
  routes: [{path: /predict}]
  authn: {apiKeys: {set: keys}}
  authz: [{name: not-globex, deny: 'identity.tenant == "globex"'}]
  limits: {requests: [{per: key, rate: 1/h, burst: 12}], body: {max: 512KiB}}
""",
    "native": HEAD
    + """
  model: {name: native, protocol: opaque, port: {model}}
  routes: [{path: /predict}]
  authn: {jwt: [{issuer: "{issuer}", jwksUri: "{issuer}/jwks", audiences: [{audience}], claims: {tenant: org}}]}
  limits: {body: {max: 512KiB}}
""",
}
DEFAULTS = {
    "fields": ("/predict", '{"text": "hello"}'),
    "chat": ("/v1/chat/completions", '{"model": "chat", "messages": [{"role": "user", "content": "hi"}]}'),
    "plain": ("/predict", "some bytes"),
    "native": ("/predict", "some bytes"),
}
KEYS = {name: new_key() for name in ("valid", "globex", "foreign", "revoked", "expired", "limited")}


@dataclass(frozen=True, slots=True)
class World:
    stands: dict[str, Stand]
    credential: Callable[[str], str]


def key_set() -> KeySet:
    tenants = {"globex": "globex", "foreign": "evil"}
    return KeySet(
        name="keys",
        version=1,
        keys=tuple(
            KeyRecord(
                id=name,
                hash=key_hash(key),
                tenant=tenants.get(name, "acme"),
                revoked=name == "revoked",
                expires_at=1.0 if name == "expired" else None,
            )
            for name, key in KEYS.items()
        ),
    )


@contextlib.contextmanager
def running_world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="bz-issuer-") as folder:
        issuer = Issuer(Path(folder))
        environment = {"BARTIZAN_JWKS_ALLOW": issuer.address, "SSL_CERT_FILE": str(issuer.ca_file)}
        stands: dict[str, Stand] = {}

        def credential(name: str) -> str:
            kind, _, what = name.rpartition(":")
            match kind:
                case "jwt":
                    return f"authorization: Bearer {issuer.token(what)}"
                case "bearer":
                    return f"authorization: Bearer {KEYS[what]}"
                case "header":
                    return what
                case _:
                    return f"x-api-key: {KEYS.get(what) or new_key()}"

        try:
            for name, text in POLICIES.items():
                policy = text.replace("{name}", name).replace("{issuer}", issuer.url)
                model = RawModel("chat" if name == "chat" else "echo")
                sidecar = LocalSidecar(
                    policy.replace("{audience}", AUDIENCE), model.port, key_set(), **environment
                )
                stands[name] = Stand(
                    sidecar=sidecar, model=model, path=DEFAULTS[name][0], body=DEFAULTS[name][1]
                )
                sidecar.spawn()
            for stand in stands.values():
                stand.sidecar.until(lambda now: enforced(now, 1) and "jwks_missing" not in now["conditions"])
            yield World(stands, credential)
        finally:
            for stand in stands.values():
                stand.sidecar.close()
                stand.model.down()
            issuer.close()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with running_world() as made:
        yield made


@pytest.fixture(scope="module")
def played(world: World) -> dict[str, Played]:
    """Every row, in the table's order whatever the order of the tests."""
    made: dict[str, Played] = {}
    for row in ROWS:
        if (
            not row.status
        ):  # no decision was told: its record is known by its time, so those before it must be there
            for before in ROWS[: len(made)]:
                if before.cause and before.policy == row.policy:
                    records_of(made[before.name], world.stands[row.policy], before.others)
        made[row.name] = play(row, world.stands[row.policy], world.credential)
    return made


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "-"))
def test_each_fault_has_its_answer_its_record_and_its_effect(
    row: Row, world: World, played: dict[str, Played]
) -> None:
    seen = played[row.name]
    stand = world.stands[row.policy]
    records = records_of(seen, stand, row.others) if row.cause else []
    causes = [record["cause"] for record in records]
    told = f"{seen.reply.status} {causes} {len(seen.received)}\n{seen.reply.raw[:900]!r}"
    assert seen.reply.status == row.status, told
    assert len(seen.received) == row.reached_model, told
    assert not stand.model.unreadable
    assert sorted(causes) == sorted([row.cause, *row.others] if row.cause else []), told
    assert len({record["id"] for record in records}) == len(records), "each record has an id of its own"
    _answer(row, seen)
    _evidence(row, seen, [described(record) for record in records])
    for name, value in row.record.items():
        assert value in [record.get(name) for record in records if record["cause"] == row.cause]


def _answer(row: Row, seen: Played) -> None:
    reply = seen.reply
    said = reply.body.decode("latin-1")
    said += "".join(re.findall(r'"content": "([^"]*)"', said))
    if reply.status >= 400:
        decision = reply.headers["x-bartizan-decision"]
        assert decision, "a refusal names its decision"
        assert said.count('"decision"') == sum(
            said.count(f'"decision":{gap}"{decision}"') for gap in ("", " ")
        )
    for text in row.answer_has:
        assert text in said
    for text in row.answer_lacks:
        assert text not in reply.raw.decode("latin-1") + said
    for name, value in row.answer_headers.items():
        assert reply.headers.get(name, "").startswith(value), reply.headers
        assert value or name not in reply.headers


def _evidence(row: Row, seen: Played, records: list[str]) -> None:
    arrived = b"".join(request.head + request.body for request in seen.received).decode("latin-1").lower()
    for text in row.model_has:
        assert text.lower() in arrived
    for text in (*row.model_lacks, "x-bartizan", *KEYS.values()):
        assert text.lower() not in arrived
    for record in records:
        for text in (*row.record_lacks, *KEYS.values()):
            assert text not in record
