"""Secrets that went through the control plane, looked for in everything that it writes, shows and tells: never there."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web

from bartizan.client import Client
from bartizan.errors import BartizanError
from bartizan.identity import JoinToken
from bartizan.local.otlp import Receiver
from control_plane.secrets.vault import Vault, VaultSettings
from tests.support.control_plane_place import Place, new_place

UPSTREAM = "upstream-canary-5d7e1f0a9b"
PROVIDERS = "provider-canary-admin-11aa22bb"
REASON = "reason-canary-of-the-author"
GUESS = "bzt_guess-canary-that-is-no-token-000000000000"
POLICY = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {name: chat}
spec:
  selector: {matchLabels: {app: chat}}
  listener: {port: 8443, tls: {cert: "file:tls.crt", key: "file:tls.key"}}
  model: {name: chat, protocol: json_fields, port: 8000, credential: {secret: up, header: x-model-key}}
  routes: [{path: /predict, inputText: ["$.text"]}]
  tenants: [acme]
  authn: {apiKeys: {set: chat}}
"""


async def provider(socket: Path) -> web.AppRunner:
    """Makes one key, ever; checks that it is asked with its own token."""

    async def create(request: web.Request) -> web.Response:
        assert request.headers["x-admin"] == PROVIDERS
        return web.json_response({"id": "one", "key": UPSTREAM})

    async def listed(_request: web.Request) -> web.Response:
        return web.json_response([])

    async def verify(request: web.Request) -> web.Response:
        return web.Response(status=200 if request.headers.get("x-model-key") == UPSTREAM else 401)

    app = web.Application()
    app.router.add_post("/keys", create)
    app.router.add_get("/keys", listed)
    app.router.add_get("/keys/verify", verify)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    return runner


def forms(secret: str) -> list[str]:
    """As it is, and as it would look where somebody encoded it."""
    plain = secret.encode()
    return [secret, quote(secret, safe=""), plain.hex(), base64.b64encode(plain).decode().rstrip("=")[:-1]]


async def test_no_secret_is_in_anything_that_the_control_plane_writes_or_shows(tmp_path: Path) -> None:
    receiver = Receiver()
    await receiver.start()
    keys = await provider(tmp_path / "keys.sock")
    more = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "BARTIZAN_LOG_LEVEL": "debug"}
    shown: dict[str, str] = {}
    try:
        async with new_place(tmp_path, **more) as place:
            child = await place.start(tmp_path / "log")
            try:
                await place.ready()
                bootstrap = (place.state / "bootstrap-token").read_text().strip()
                admin = await place.admin()
                await write_headers(place.environment, place.bao.ca_file)
                secrets = {"bootstrap token": bootstrap, "admin token": admin, "upstream key": UPSTREAM}
                secrets |= {"provider's token": PROVIDERS, "guessed token": GUESS}
                secrets["vault token"] = place.bao.token_file.read_text().strip()
                async with Client(place.url, admin, ca_file=place.ca) as client:
                    where = {"kind": "http", "socket": str(tmp_path / "keys.sock")}
                    where |= {"key_header": "x-model-key", "headers_path": "admin/keys"}
                    await client.put_secret("up", {"path": "models/up", "provider": where})
                    await client.wait_rotated("up", timeout_seconds=60)
                    await client.create_key_set("chat")
                    secrets["API key"] = (await client.issue_key("chat", tenant="acme")).key
                    join = await client.join_token("spiffe://test.local/ns/default/sa/m", {"app": "chat"})
                    secrets["join token"] = JoinToken.decode(join).secret
                    await client.apply(POLICY, reason=REASON)
                    with pytest.raises(BartizanError):
                        await client.apply(POLICY.replace("acme", "[" + UPSTREAM))
                async with Client(place.url, GUESS, ca_file=place.ca) as stranger:
                    with pytest.raises(BartizanError):
                        await stranger.policies()
                shown = await told(place.url, place.environment, admin, place)
                async with asyncio.timeout(60):  # they are told in batches
                    while "put_secrets" not in repr(receiver.traces()):
                        await asyncio.sleep(0.1)
            finally:
                await child.stop()
            shown["log"] = child.log.read_text()
            stored = b"".join(file.read_bytes() for file in sorted(place.state.glob("store.db*")))
            shown["store"] = stored.decode("latin-1")
    finally:
        await keys.cleanup()
        await receiver.stop()
    shown["spans"] = repr(receiver.traces())
    assert all(shown.values()), "nothing to look into proves nothing"
    # What is looked into is what was written: ordinary facts of the same acts are there.
    assert "rotation_started" in shown["log"]
    assert REASON in shown["store"]
    assert "secret.define" in shown["/v1/events"]
    assert "put_secrets" in shown["spans"]
    found = [
        (name, place_name)
        for name, secret in secrets.items()
        for place_name, text in shown.items()
        if any(form in text for form in forms(secret))
    ]
    assert found == []
    for quiet in ("log", "spans", "/metrics", "/openapi.json"):
        assert REASON not in shown[quiet], "an author's words are for the revision alone"


async def write_headers(environment: Mapping[str, str], ca_file: Path) -> None:
    """The provider's own token, where the definition says that it lies."""
    vault = Vault(
        VaultSettings(
            address=environment["BARTIZAN_CP_VAULT_ADDR"],
            token_file=Path(environment["BARTIZAN_CP_VAULT_TOKEN_FILE"]),
            ca_file=ca_file,
            kv="bartizan-kv",
            pki="bartizan-pki",
            transit="bartizan-transit",
        )
    )
    try:
        await vault.kv_write("admin/keys", {"x-admin": PROVIDERS}, 0)
    finally:
        await vault.close()


async def told(url: str, environment: Mapping[str, str], admin: str, place: Place) -> dict[str, str]:
    """Every GET of the API that needs no instance, and the metrics."""
    answers: dict[str, str] = {}
    headers = {"Authorization": f"Bearer {admin}"}
    async with asyncio.timeout(120), aiohttp.ClientSession(headers=headers) as session:
        async with session.get(f"{url}/openapi.json", ssl=place.context()) as document:
            answers["/openapi.json"] = await document.text()
        paths = re.findall(r'"(/[^"{]*)":\{[^{]*"get"', answers["/openapi.json"])
        named = ["/v1/events", "/v1/secrets/up", "/v1/secrets/up/rotation", "/v1/key-sets/chat/keys"]
        for path in {*paths, *named}:
            async with session.get(url + path, ssl=place.context()) as answer:
                answers[path] = await answer.text() or "(empty)"
        async with session.get(f"http://{environment['BARTIZAN_CP_METRICS_LISTEN']}/metrics") as metrics:
            answers["/metrics"] = await metrics.text()
    return answers
