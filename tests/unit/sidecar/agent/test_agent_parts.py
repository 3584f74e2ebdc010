"""Small parts of the agent: restarts, conditions, generations, Envoy's reasons, merged metrics, verification."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from bartizan.errors import ResourceRejected, TrustError
from bartizan.identity import TrustDocument
from bartizan.policy.bundle import Bundle, EnvoyResources, GuardModel, GuardPlan
from bartizan.policy.canonical import canonical
from bartizan.policy.names import TYPE_CLUSTER, TYPE_LISTENER, TYPE_ROUTES
from bartizan.policy.signing import LocalSigner
from bartizan.telemetry import metrics
from bartizan.telemetry.exposition import exposition
from protos.gen.bartizan.identity.v1 import identity_pb2
from protos.gen.bartizan.policy.v1 import policy_pb2
from protos.gen.envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from sidecar.agent import conditions as names
from sidecar.agent.changes import Changes
from sidecar.agent.conditions import Conditions
from sidecar.agent.envoy_config import EnvoyConfig, clean_reason
from sidecar.agent.health import _WithWorkers
from sidecar.agent.sds import HeldSecret, generation_of, secret_resources
from sidecar.agent.subscribe import generation_in
from sidecar.agent.supervisor import Restarts
from sidecar.agent.verify import Verifier, verification_keys
from sidecar.agent.versions import SeenVersions


def test_the_first_restarts_are_immediate_then_they_slow_down_up_to_a_limit() -> None:
    restarts = Restarts()
    delays = [restarts.died(float(second)) for second in range(15)]
    assert delays[:2] == [0.0, 0.0]
    assert all(delay > 0 for delay in delays[2:])
    assert max(delays) <= restarts.limit
    assert restarts.died(1000.0) == 0.0


def test_only_blocking_conditions_make_it_not_ready() -> None:
    held = Conditions(Changes())
    held.set(names.CONTROL_PLANE_AWAY, holds=True)
    held.set(names.SERVING_LAST_GOOD, holds=True)
    readiness = [held.ready]
    for name in sorted(names.BLOCKING):
        held.set(name, holds=True)
        readiness.append(held.ready)
        held.set(name, holds=False)
    assert readiness == [True, *(False for _ in names.BLOCKING)]
    assert list(held) == [names.CONTROL_PLANE_AWAY, names.SERVING_LAST_GOOD]


async def test_waiting_ends_with_the_state_or_the_time() -> None:
    changes = Changes()
    assert await changes.until(lambda: True)
    assert not await changes.until(lambda: False, timeout=0.0)


def _secret(name: str, value: str) -> secret_pb2.Secret:
    made = secret_pb2.Secret(name=name)
    made.generic_secret.secret.inline_string = value
    return made


@given(
    st.dictionaries(
        st.text("abcdefgh.:,=-@", min_size=1, max_size=12),
        st.text("0123456789abcdef", min_size=1, max_size=8),
    )
)
def test_each_generation_can_be_read_back_from_the_version(generations: dict[str, str]) -> None:
    held = {name: HeldSecret(generation, _secret(name, "v")) for name, generation in generations.items()}
    version = secret_resources(held).version
    assert {name: generation_of(name, version) for name in generations} == generations
    assert not generation_of("absent!", version)


def test_a_changed_value_is_another_version_even_under_the_same_generation() -> None:
    versions = {secret_resources({"a": HeldSecret("1", _secret("a", value))}).version for value in ("x", "y")}
    assert len(versions) == 2
    assert "x" not in repr(HeldSecret("1", _secret("a", "x-secret")))


@pytest.mark.parametrize(
    ("version", "generation"), [("a@3", "3"), ("b@1,a@4", "4"), ("other", "other"), ("b@1", "b@1")]
)
def test_the_control_planes_version_text_gives_the_generation(version: str, generation: str) -> None:
    assert generation_in(version, "a") == generation


@pytest.mark.parametrize(
    ("reason", "cleaned"),
    [
        ("bad listener goo.gle/debugproto name: secret", "bad listener"),
        ("first\nsecond", "first"),
        ("config {password: x}", "config"),
        ("", "no reason given"),
    ],
)
def test_envoys_reason_never_repeats_its_configuration(reason: str, cleaned: str) -> None:
    assert clean_reason(reason) == cleaned
    assert len(clean_reason("x" * 5000)) <= 300


LISTENER = {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "bartizan"}


async def test_a_nack_of_this_version_is_a_refusal_with_its_document_path_and_an_ack_is_none() -> None:
    config = EnvoyConfig(Changes())
    snapshot = config.publish(config.read(EnvoyResources(listeners=(LISTENER,))))
    version = snapshot.types[TYPE_LISTENER].version
    config.on_nack(TYPE_LISTENER, "another version", "old news")
    assert not config.acked(snapshot)
    config.on_nack(TYPE_LISTENER, version, "cannot bind '0.0.0.0:1': Permission denied")
    with pytest.raises(ResourceRejected, match="cannot bind") as caught:
        await config.applied(snapshot, 1.0)
    assert caught.value.path == "spec.listener.port"
    config.on_ack(TYPE_LISTENER, version)
    config.on_ack(TYPE_CLUSTER, snapshot.types[TYPE_CLUSTER].version)
    await config.applied(snapshot, 0.0)
    config.forget_answers()
    with pytest.raises(ResourceRejected, match="envoy_timeout"):
        await config.applied(snapshot, 0.0)


def test_an_unknown_envoy_resource_is_refused() -> None:
    with pytest.raises(ResourceRejected):
        EnvoyConfig.read(EnvoyResources(clusters=({"@type": "type.googleapis.com/unknown.Type"},)))


async def test_without_a_policy_envoy_gets_no_listener_and_must_say_so() -> None:
    config = EnvoyConfig(Changes())
    served = config.publish(config.read(EnvoyResources(listeners=(LISTENER,))))
    config.on_ack(TYPE_LISTENER, served.types[TYPE_LISTENER].version)
    config.on_ack(TYPE_CLUSTER, served.types[TYPE_CLUSTER].version)
    nothing = config.publish(None)
    assert all(not nothing.types[kind].items for kind in (TYPE_LISTENER, TYPE_ROUTES, TYPE_CLUSTER))
    with pytest.raises(ResourceRejected, match="envoy_timeout"):
        await config.applied(nothing, 0.0)
    config.on_ack(TYPE_LISTENER, nothing.types[TYPE_LISTENER].version)
    await config.applied(nothing, 0.0)


async def test_what_envoy_took_before_something_else_was_sent_is_no_confirmation() -> None:
    config = EnvoyConfig(Changes())
    first = config.publish(config.read(EnvoyResources(listeners=(LISTENER,))))
    for kind in (TYPE_LISTENER, TYPE_CLUSTER):
        config.on_ack(kind, first.types[kind].version)
    config.publish(config.read(EnvoyResources(listeners=({**LISTENER, "name": "other"},))))
    assert not config.acked(config.publish(config.read(EnvoyResources(listeners=(LISTENER,)))))


def test_the_certificate_of_a_refused_bundle_is_served_no_longer() -> None:
    config = EnvoyConfig(Changes())
    held = HeldSecret("1", _secret("listener", "old"))
    config.put_secret(held)
    config.put_secret(HeldSecret("2", _secret("listener", "refused")))
    config.put_back_secret("listener", held)
    assert dict(config.secrets) == {"listener": held}
    config.put_back_secret("listener", None)
    assert dict(config.secrets) == {}


def test_workers_samples_join_the_family_of_the_same_name() -> None:
    own = metrics.AUDIT_LOST._value.get()
    metrics.AUDIT_LOST.inc(3)
    text = exposition(
        _WithWorkers(
            lambda: {
                'bartizan_decisions_total{action="deny",cause="of a worker",phase="authn"}': 3.0,
                "bartizan_audit_lost_total": 2.0,
                'bartizan_phase_seconds_bucket{le="+Inf",phase="of a worker"}': 3.0,
            }
        )
    ).decode()
    assert 'bartizan_decisions_total{action="deny",cause="of a worker",phase="authn"} 3.0' in text
    assert text.count("# TYPE bartizan_decisions_total") == 1
    assert f"bartizan_audit_lost_total {own + 5}" in text, "what the agent lost, and what the workers lost"
    assert 'bartizan_phase_seconds_bucket{le="+Inf",phase="of a worker"} 3.0' in text


def _signer() -> LocalSigner:
    key = ed25519.Ed25519PrivateKey.generate()
    return LocalSigner(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def _trust(signer: LocalSigner) -> TrustDocument:
    keys = {signer.key_id: base64.b64encode(signer.public_key).decode()}
    return TrustDocument(trust_domain="t.example", roots=(), verification_keys=keys)


def _bundle(signer: LocalSigner, **changed: object) -> policy_pb2.SignedBundle:
    plan = GuardPlan(
        id=str(changed.pop("plan_id", "1.2")),
        policy="a/b",
        revision=1,
        model=GuardModel(name="m", protocol="opaque"),
        tenants=("t",),
    )
    fields: dict[str, object] = {
        "schema_version": 1,
        "policy": "a/b",
        "revision": 1,
        "version": 2,
        "issued_at": "2026-01-01T00:00:00Z",
        "envoy": EnvoyResources(),
        "plan": plan,
        "listener_address": "127.0.0.1",
        "listener_port": 1,
        **changed,
    }
    payload = canonical(Bundle(**fields))  # type: ignore[arg-type]
    return policy_pb2.SignedBundle(
        name="a/b", payload=payload, key_id=signer.key_id, signature=signer.sign(payload)
    )


def _verifier(signer: LocalSigner | None, seen: int = 0) -> Verifier:
    # a folder that can't be written: memory is enough here
    versions = SeenVersions(Path("/proc/nowhere/versions.json"), Conditions(Changes()))
    if seen:
        versions.took_bundle("a/b", seen)
    verifier = Verifier(versions, frozenset({"known"}))
    if signer is not None:
        verifier.trust(_trust(signer))
    return verifier


def test_a_bundle_of_a_trusted_key_is_taken_also_again() -> None:
    signer = _signer()
    assert _verifier(signer, seen=2).bundle(_bundle(signer, requires=("known",))).version == 2


@pytest.mark.parametrize(
    ("changed", "seen", "reason"),
    [
        pytest.param({}, 3, "rolled_back", id="older"),
        pytest.param({"requires": ("unknown",)}, 0, "not_capable: unknown", id="not capable"),
        pytest.param({"plan_id": "9.9"}, 0, "plan_does_not_match_bundle", id="other plan"),
    ],
)
def test_what_can_not_be_enforced_is_refused(changed: dict[str, object], seen: int, reason: str) -> None:
    signer = _signer()
    with pytest.raises(ResourceRejected, match=reason):
        _verifier(signer, seen).bundle(_bundle(signer, **changed))


def test_nothing_is_taken_from_a_stranger_or_before_anything_is_trusted() -> None:
    signer, stranger = _signer(), _signer()
    with pytest.raises(ResourceRejected, match="signature_invalid"):
        _verifier(signer).bundle(_bundle(stranger))
    with pytest.raises(ResourceRejected, match="signature_invalid"):
        _verifier(None).bundle(_bundle(signer))
    with pytest.raises(ResourceRejected, match="nothing_is_trusted_yet"):
        _verifier(None).key_set(identity_pb2.KeySet(name="k"))


def test_a_trust_document_whose_ids_do_not_fit_is_refused() -> None:
    signer = _signer()
    good = _trust(signer)
    assert verification_keys(good) == {signer.key_id: signer.public_key}
    for keys in ({"0" * 16: good.verification_keys[signer.key_id]}, {signer.key_id: "no base64"}):
        with pytest.raises(TrustError):
            verification_keys(TrustDocument(trust_domain="t", roots=(), verification_keys=keys))
