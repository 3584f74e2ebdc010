"""Attestation by a pod's token over the cluster's API: review or keys, one instance for each pod, gone pods removed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from bartizan.errors import BartizanError, DependencyUnavailable, IdentityRefused
from bartizan.tls import CertificateSource, make_csr, new_key
from control_plane.identity.attest import Attestor
from control_plane.identity.issuer import Issuer
from control_plane.identity.projected import PodTokens
from control_plane.kubernetes.api_server import ApiServer, connect
from control_plane.kubernetes.attestation import ReviewedTokens, VerifiedTokens, pod_object
from control_plane.kubernetes.pods import PodReaper
from control_plane.store.sql.store import SqlStore, open_store
from tests.support.agent_plane import RootInMemory
from tests.support.api_server_stand import ApiServerStand, api_server_stand, pod_path, write_kubeconfig


def new_signing_key(kid: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": "ES256"})


@dataclass
class Running:
    cluster: ApiServerStand
    server: ApiServer
    store: SqlStore
    issuer: Issuer
    key: ECKey = field(default_factory=lambda: new_signing_key("one"))
    removed: list[str] = field(default_factory=list)

    def pod(self, name: str = "chat-0", uid: str = "u1", **more: Any) -> None:
        self.cluster.put(
            pod_path(name, "prod"),
            {
                "metadata": {"name": name, "namespace": "prod", "uid": uid, "labels": {"app": "chat"}},
                "spec": {"serviceAccountName": "chat"},
                "status": {"phase": "Running"},
                **more,
            },
        )

    def token(self, *, name: str = "chat-0", uid: str = "u1", key: ECKey | None = None, **claims: Any) -> str:
        """As kubelet gets one; the review knows it too."""
        now = int(time.time())
        said = {
            "iss": "https://cluster.example",
            "aud": ["bartizan"],
            "exp": now + 600,
            "nbf": now,
            "sub": "system:serviceaccount:prod:chat",
            "kubernetes.io": {
                "namespace": "prod",
                "serviceaccount": {"name": "chat", "uid": "s1"},
                "pod": {"name": name, "uid": uid},
            },
            **claims,
        }
        signing = key or self.key
        made = jwt.encode({"alg": "ES256", "kid": signing.kid}, said, signing)
        self.cluster.reviews[made] = {
            "authenticated": True,
            "audiences": said["aud"],
            "user": {
                "username": said["sub"],
                "extra": {
                    "authentication.kubernetes.io/pod-name": [name],
                    "authentication.kubernetes.io/pod-uid": [uid],
                },
            },
        }
        return made

    def publish(self, *keys: ECKey) -> None:
        self.cluster.keys = {"keys": [key.as_dict(private=False) for key in keys]}

    def attestor(self, tokens: PodTokens | None) -> Attestor:
        async def removed(instance_id: str) -> None:
            self.removed.append(instance_id)

        return Attestor(self.store, self.issuer, trust_domain="test.example", pods=tokens, removed=removed)

    async def attest(self, tokens: PodTokens, token: str) -> Any:
        return await self.attestor(tokens).attest_pod(token, make_csr(new_key()), peer="10.0.0.7")


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/store.db")
    issuer = Issuer(
        RootInMemory(),  # type: ignore[arg-type]
        trust_domain="test.example",
        hosts=(),
        source=CertificateSource(),
    )
    await issuer.start()
    async with api_server_stand() as cluster:
        kubeconfig = write_kubeconfig(tmp_path / "config", f"http://127.0.0.1:{cluster.port}")
        async with connect(str(kubeconfig)) as server:
            made = Running(cluster, server, store, issuer)
            made.publish(made.key)
            yield made
    await store.close()


@pytest.fixture(params=["review", "jwks"])
def tokens(request: pytest.FixtureRequest, running: Running) -> PodTokens:
    return ReviewedTokens(running.server) if request.param == "review" else VerifiedTokens(running.server)


async def test_identity_and_labels_come_from_the_cluster(running: Running, tokens: PodTokens) -> None:
    running.pod()
    attested = await running.attest(tokens, running.token())
    assert attested.spiffe_id == "spiffe://test.example/ns/prod/sa/chat"
    async with running.store.begin() as work:
        row = await work.instances.get(attested.instance_id)
        events = await work.events.recent()
    assert row is not None
    assert (row.namespace, row.labels, row.pod_name, row.pod_uid) == ("prod", {"app": "chat"}, "chat-0", "u1")
    assert events[0].detail == {"pod": "chat-0", "pod_uid": "u1"}


async def test_a_token_whose_pod_is_gone_or_replaced_is_refused(running: Running, tokens: PodTokens) -> None:
    token = running.token()
    with pytest.raises(IdentityRefused, match="pod is gone"):
        await running.attest(tokens, token)
    running.pod(uid="u2")
    with pytest.raises(IdentityRefused, match="another one has its name"):
        await running.attest(tokens, token)
    async with running.store.begin() as work:
        assert not await work.instances.all()


async def test_a_token_for_another_audience_is_refused(running: Running, tokens: PodTokens) -> None:
    running.pod()
    with pytest.raises(IdentityRefused, match="not for the audience"):
        await running.attest(tokens, running.token(aud=["vault"]))


async def test_a_token_that_the_cluster_did_not_make_is_refused(running: Running, tokens: PodTokens) -> None:
    running.pod()
    foreign = running.token(key=new_signing_key("one"))
    running.cluster.reviews.clear()
    with pytest.raises(IdentityRefused):
        await running.attest(tokens, foreign)


async def test_a_pod_that_attests_again_is_still_one_instance(running: Running, tokens: PodTokens) -> None:
    running.pod()
    first = await running.attest(tokens, running.token())
    second = await running.attest(tokens, running.token())
    async with running.store.begin() as work:
        alive = [row.instance_id for row in await work.instances.all()]
    assert alive == [second.instance_id]
    assert running.removed == [first.instance_id]


async def test_an_api_server_that_is_away_is_no_refusal(running: Running, tokens: PodTokens) -> None:
    running.pod()
    token = running.token()
    running.cluster.down = True
    with pytest.raises(DependencyUnavailable):
        await running.attest(tokens, token)


async def test_keys_that_the_cluster_rotated_are_fetched_anew(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.kubernetes.attestation._LEAST_SECONDS", 0.0)
    running.pod()
    tokens = VerifiedTokens(running.server)
    await running.attest(tokens, running.token())
    newer = new_signing_key("two")
    running.publish(running.key, newer)
    await running.attest(tokens, running.token(key=newer))


async def test_without_a_cluster_no_pod_token_is_accepted(running: Running) -> None:
    running.pod()
    with pytest.raises(IdentityRefused, match="not accepted here"):
        await running.attestor(None).attest_pod(running.token(), make_csr(new_key()), peer="x")


async def test_what_is_no_token_is_refused_without_asking(running: Running, tokens: PodTokens) -> None:
    running.cluster.down = True
    with pytest.raises(IdentityRefused, match="not a Kubernetes token"):
        await running.attest(tokens, "what")


async def test_a_silent_instance_is_removed_only_when_its_pod_is_gone(running: Running) -> None:
    tokens = ReviewedTokens(running.server)
    running.pod()
    running.pod("chat-1", "u9")
    stays = await running.attest(tokens, running.token())
    goes = await running.attest(tokens, running.token(name="chat-1", uid="u9"))
    live: set[str] = set()
    told: list[str] = []

    async def lookup(namespace: str, name: str) -> dict[str, Any] | None:
        return await pod_object(running.server, namespace, name)

    async def removed(instance_id: str) -> None:
        told.append(instance_id)

    reaper = PodReaper(running.store, lookup, live=live.__contains__, removed=removed)
    running.cluster.delete(pod_path("chat-1", "prod"))
    live.add(goes.instance_id)
    await reaper.reap()
    assert told == [], "it still speaks"
    live.clear()
    running.cluster.down = True
    with pytest.raises(BartizanError):
        await reaper.reap()
    running.cluster.down = False
    await reaper.reap()
    assert told == [goes.instance_id]
    async with running.store.begin() as work:
        assert [row.instance_id for row in await work.instances.all()] == [stays.instance_id]
