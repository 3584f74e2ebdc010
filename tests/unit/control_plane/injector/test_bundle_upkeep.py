"""Roots of all replicas and rotations live together in `caBundle`; nobody's is lost, ended ones go."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import itertools
import ssl
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from bartizan.tls import CertificateSource, client_ssl_context, ssl_context
from control_plane.injector.authority import own_material
from control_plane.injector.bundle_upkeep import MOST, merged, with_bundle

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def roots(started: dt.datetime = NOW) -> bytes:
    return own_material(["webhook.example"], started).roots_pem


def held(bundle: str) -> set[bytes]:
    certificates = x509.load_pem_x509_certificates(base64.b64decode(bundle))
    return {each.fingerprint(hashes.SHA256()) for each in certificates}


def fingerprint(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256())


def test_several_replicas_roots_are_all_there_in_whatever_order_they_came() -> None:
    ours = [roots(NOW + n * DAY) for n in range(3)]
    bundles = set()
    for order in itertools.permutations(ours):
        bundle = ""
        for one in order:
            bundle = merged(bundle, one, NOW + 4 * DAY)
        bundles.add(bundle)
    assert len(bundles) == 1, "replicas must not rewrite each other's for ever"
    assert held(bundles.pop()) == {fingerprint(each) for each in ours}


def test_what_is_there_already_changes_nothing() -> None:
    one = roots()
    bundle = merged("", one, NOW)
    assert merged(bundle, one, NOW) == bundle


def test_ended_roots_go_and_our_own_is_never_pushed_out() -> None:
    old, mine = roots(NOW - 30 * DAY), roots(NOW)
    assert held(merged(merged("", old, NOW - 29 * DAY), mine, NOW)) == {fingerprint(mine)}
    crowd = ""
    for n in range(1, MOST + 5):
        crowd = merged(crowd, roots(NOW + n * dt.timedelta(minutes=1)), NOW + DAY)
    assert len(held(crowd)) == MOST
    assert fingerprint(mine) in held(merged(crowd, mine, NOW + DAY))
    assert len(held(merged(crowd, mine, NOW + DAY))) == MOST


@pytest.mark.parametrize("existing", ["", "Cg==", "not base64!", base64.b64encode(b"junk").decode()])
def test_junk_in_its_place_is_replaced(existing: str) -> None:
    one = roots()
    assert held(merged(existing, one, NOW)) == {fingerprint(one)}


def test_every_webhook_of_a_configuration_gets_the_roots_and_nothing_else_changes() -> None:
    configuration: dict[str, Any] = {
        "metadata": {"resourceVersion": "7"},
        "webhooks": [{"name": "a", "clientConfig": {"service": {"name": "x"}}}, {"name": "b"}],
    }
    changed = with_bundle(configuration, roots(), NOW)
    assert changed is not None
    assert changed["metadata"] == {"resourceVersion": "7"}
    assert [each["name"] for each in changed["webhooks"]] == ["a", "b"]
    assert changed["webhooks"][0]["clientConfig"]["service"] == {"name": "x"}
    assert all(each["clientConfig"]["caBundle"] for each in changed["webhooks"])
    assert "caBundle" not in configuration["webhooks"][0]["clientConfig"]


def test_nothing_is_written_when_nothing_has_to_change() -> None:
    one = roots()
    changed = with_bundle({"webhooks": [{"name": "a"}]}, one, NOW)
    assert changed is not None
    assert with_bundle(changed, one, NOW) is None


async def test_the_own_authoritys_certificate_serves_tls_for_its_hosts_only() -> None:
    material = own_material(["bartizan-webhook.x.svc", "127.0.0.1"], dt.datetime.now(dt.UTC))
    material.check()
    server = await asyncio.start_server(
        lambda _r, w: w.close(), "127.0.0.1", 0, ssl=ssl_context(CertificateSource(material))
    )
    port = server.sockets[0].getsockname()[1]
    context = client_ssl_context(material.roots_pem)
    for name, fits in (("bartizan-webhook.x.svc", True), ("127.0.0.1", True), ("other.svc", False)):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
            writer.close()
            accepted = True
        except ssl.SSLCertVerificationError:
            accepted = False
        assert accepted is fits, name
    server.close()
