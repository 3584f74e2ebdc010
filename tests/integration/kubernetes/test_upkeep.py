"""What makes injection work is kept in the cluster: roots before they are served, trust documents, whatever others write."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from bartizan import tasks
from bartizan.errors import Conflict, DependencyUnavailable
from bartizan.tls import CertificateSource
from control_plane.injector import names, standalone
from control_plane.injector.authority import own_material
from control_plane.injector.standalone import rotate
from control_plane.injector.upkeep import CONFIGURATIONS, Upkeep
from control_plane.injector.webhook_configuration import webhook_configurations
from control_plane.kubernetes.api_server import ApiServer, connect
from tests.support.api_server_stand import ApiServerStand, api_server_stand, write_kubeconfig
from tests.support.pod_cases import case_config

CONFIG = case_config("plain_one_port")
HOSTS = ("webhook.example",)
TRUST = b'{"roots": []}'


def roots() -> bytes:
    return own_material(HOSTS, dt.datetime.now(dt.UTC)).roots_pem


async def trust() -> bytes:
    return TRUST


@dataclass
class Kept:
    cluster: ApiServerStand
    server: ApiServer

    def upkeep(self, own: bytes | None = None) -> Upkeep:
        return Upkeep(self.server, CONFIG, (lambda: own) if own is not None else None, trust)

    def install(self) -> None:
        for path, document in zip(CONFIGURATIONS, webhook_configurations(CONFIG, "x"), strict=True):
            self.cluster.put(path, document)

    def namespace(self, name: str, **labels: str) -> None:
        metadata = {"name": name, "labels": {f"{names.DOMAIN}{key}": value for key, value in labels.items()}}
        self.cluster.put(f"/api/v1/namespaces/{name}", {"metadata": metadata})

    def trusted(self, pem: bytes) -> bool:
        """By every webhook of both configurations."""
        wanted = x509.load_pem_x509_certificate(pem)
        bundles = [
            base64.b64decode(webhook["clientConfig"].get("caBundle", ""))
            for path in CONFIGURATIONS
            for webhook in self.cluster.objects[path]["webhooks"]
        ]
        return all(each and wanted in x509.load_pem_x509_certificates(each) for each in bundles)

    def document(self, namespace: str) -> dict[str, Any] | None:
        found = self.cluster.objects.get(
            f"/api/v1/namespaces/{namespace}/configmaps/{names.TRUST_CONFIG_MAP}", {}
        )
        data: dict[str, Any] | None = found.get("data")
        return data


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    async with api_server_stand() as cluster:
        kubeconfig = write_kubeconfig(tmp_path / "config", f"http://127.0.0.1:{cluster.port}")
        async with connect(str(kubeconfig)) as server:
            yield Kept(cluster, server)


async def test_roots_are_written_at_once_also_when_others_write_in_the_same_moment(kept: Kept) -> None:
    kept.install()
    own = roots()
    kept.cluster.conflicts = 3
    upkeep = kept.upkeep(own)
    assert not upkeep.published
    await upkeep.publish(own)
    assert kept.trusted(own)
    assert upkeep.published


async def test_whoever_never_gets_a_turn_is_told_and_does_not_count_as_trusted(kept: Kept) -> None:
    kept.install()
    own = roots()
    kept.cluster.conflicts = 1000
    upkeep = kept.upkeep(own)
    with pytest.raises(Conflict):
        await upkeep.publish(own)
    assert not upkeep.published


async def test_what_is_not_installed_is_no_obstacle(kept: Kept) -> None:
    await kept.upkeep(roots()).publish(roots())


async def test_a_new_certificate_is_served_only_when_its_root_stands_in_the_configurations(
    kept: Kept,
) -> None:
    """Every write of the first tries comes too late; at no moment is a certificate served that nobody trusts."""
    kept.install()
    life = dt.timedelta(seconds=4)
    source = CertificateSource(own_material(HOSTS, dt.datetime.now(dt.UTC), life))
    upkeep = kept.upkeep(source.current.roots_pem)
    await upkeep.publish(source.current.roots_pem)
    first = source.current
    kept.cluster.conflicts = 25
    async with asyncio.TaskGroup() as group, asyncio.timeout(60):
        rotating = tasks.start(group, rotate(source, HOSTS, life, upkeep), name="rotation")
        while source.current is first:
            await asyncio.sleep(0.01)
        assert kept.trusted(source.current.roots_pem)
        assert not kept.cluster.conflicts
        await tasks.cancel(rotating)


async def test_a_certificate_that_is_due_is_renewed_however_long_this_process_has_slept(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that was suspended wakes with one that has ended; sleep did not count the time."""
    monkeypatch.setattr(standalone, "SETTLE_SECONDS", 0.1)
    kept.install()
    life = dt.timedelta(hours=2)
    source = CertificateSource(own_material(HOSTS, dt.datetime.now(dt.UTC) - life, life))
    ended = source.current
    upkeep = kept.upkeep(ended.roots_pem)
    async with asyncio.TaskGroup() as group, asyncio.timeout(60):
        rotating = tasks.start(group, rotate(source, HOSTS, life, upkeep), name="rotation")
        assert await source.changed(ended) is not ended
        source.current.check()
        assert kept.trusted(source.current.roots_pem)
        await tasks.cancel(rotating)


async def test_labelled_namespaces_get_the_trust_document_and_others_do_not(kept: Kept) -> None:
    kept.namespace("injected", injection="enabled")
    kept.namespace("requested", injection="requested")
    kept.namespace("enforced", enforce="true")
    kept.namespace("plain")
    kept.namespace("kube-system", injection="enabled")
    upkeep = kept.upkeep()
    await upkeep.look()
    for name, expected in (
        ("injected", {"trust.json": TRUST.decode()}),
        ("requested", {"trust.json": TRUST.decode()}),
        ("enforced", {"trust.json": TRUST.decode()}),
        ("plain", None),
        ("kube-system", None),
    ):
        assert kept.document(name) == expected, name


async def test_a_namespace_that_takes_no_trust_document_keeps_no_other_one_waiting(kept: Kept) -> None:
    for name in ("a", "broken", "c"):
        kept.namespace(name, injection="enabled")
    kept.cluster.broken.add("broken")
    upkeep = kept.upkeep()
    with pytest.raises(DependencyUnavailable, match="failed calling webhook"):
        await upkeep.look()
    written = {name: kept.document(name) is not None for name in ("a", "broken", "c")}
    assert written == {"a": True, "broken": False, "c": True}
    kept.cluster.broken.clear()
    await upkeep.look()
    assert kept.document("broken") == {"trust.json": TRUST.decode()}


async def test_a_forged_trust_document_is_put_right(kept: Kept) -> None:
    kept.namespace("injected", injection="enabled")
    upkeep = kept.upkeep()
    await upkeep.look()
    path = f"/api/v1/namespaces/injected/configmaps/{names.TRUST_CONFIG_MAP}"
    kept.cluster.put(path, {**kept.cluster.objects[path], "data": {"trust.json": "forged", "more": "x"}})
    await upkeep.look()
    assert kept.document("injected") == {"trust.json": TRUST.decode()}


async def test_an_api_server_that_is_away_is_a_failure_that_is_tried_again(kept: Kept) -> None:
    kept.install()
    own = roots()
    kept.cluster.down = True
    upkeep = kept.upkeep(own)
    with pytest.raises(DependencyUnavailable):
        await upkeep.look()
    kept.cluster.down = False
    async with asyncio.TaskGroup() as group, asyncio.timeout(60):
        running = tasks.start(group, upkeep.run(), name="upkeep")
        while not upkeep.published:
            await asyncio.sleep(0.01)
        await tasks.cancel(running)
    assert kept.trusted(own)
