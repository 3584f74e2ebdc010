"""A laptop stack removes what its own sidecar was before it joined anew, and only that; it joins anew to be another one."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from bartizan.local.certificates import make_server_certificate
from bartizan.local.stack import Stack


@pytest.mark.parametrize(
    ("known", "status", "removed", "left"),
    [
        (None, 204, [], ["new"]),
        (["new"], 204, [], ["new"]),
        (["old"], 204, ["old"], ["new"]),
        (["older", "old", "new"], 204, ["older", "old"], ["new"]),
        (["old"], 404, ["old"], ["new"]),
        (["old"], 503, ["old"], ["old", "new"]),
    ],
)
async def test_the_sidecars_earlier_instance_is_removed(
    tmp_path: Path, known: list[str] | None, status: int, removed: list[str], left: list[str]
) -> None:
    asked: list[str] = []

    async def remove(request: web.Request) -> web.Response:
        asked.append(request.match_info["id"])
        return web.Response(status=status)

    stack = Stack(tmp_path)
    certificates = tmp_path / "control-plane"
    certificates.mkdir()
    make_server_certificate(certificates, days=1)
    (certificates / "tls.crt").rename(stack.ca_file)
    stack.token_file.write_text("bzt_x")
    if known is not None:
        (tmp_path / "instances.json").write_bytes(msgspec.json.encode(known))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(stack.ca_file, certificates / "tls.key")
    app = web.Application()
    app.router.add_delete("/v1/instances/{id}", remove)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", stack.ports.api, ssl_context=context).start()
    try:
        await stack.retire_earlier("new")
        await stack.retire_earlier("")
    finally:
        await runner.cleanup()
    assert list(dict.fromkeys(asked)) == removed
    assert msgspec.json.decode((tmp_path / "instances.json").read_bytes()) == left


@pytest.mark.parametrize(
    ("later", "kept"),
    [
        ({"service_account": "model", "labels": {"app": "a"}}, True),
        ({"service_account": "other", "labels": {"app": "a"}}, False),
        ({"service_account": "model", "labels": {"app": "b"}}, False),
        ({"service_account": "model", "labels": {"app": "a"}, "namespace": "prod"}, False),
    ],
)
def test_a_sidecar_that_shall_be_another_one_joins_anew(tmp_path: Path, later: Any, kept: bool) -> None:
    Stack(tmp_path, service_account="model", labels={"app": "a"}).leave_another_identity()
    folder = tmp_path / "sidecar"
    folder.mkdir()
    for name in ("identity.sealed", "last-good.sealed", "versions.json", "audit.spool"):
        (folder / name).touch()
    for _ in range(2):
        Stack(tmp_path, **later).leave_another_identity()
    left = {file.name for file in folder.iterdir()}
    assert left == {"versions.json", "audit.spool"} | (
        {"identity.sealed", "last-good.sealed"} if kept else set()
    )


@pytest.mark.parametrize("content", [b"", b'["spiffe', b"\xff"])
def test_a_sidecar_of_which_it_is_not_known_how_it_joined_joins_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sidecar").mkdir()
    (tmp_path / "sidecar" / "identity.sealed").touch()
    (tmp_path / "joins.json").write_bytes(content)
    Stack(tmp_path).leave_another_identity()
    assert not (tmp_path / "sidecar" / "identity.sealed").exists()


def test_the_order_of_labels_makes_no_other_sidecar(tmp_path: Path) -> None:
    (tmp_path / "sidecar").mkdir()
    (tmp_path / "sidecar" / "identity.sealed").touch()
    for labels in ({"app": "a", "tier": "b"}, {"tier": "b", "app": "a"}):
        Stack(tmp_path, labels=labels).leave_another_identity()
    assert (tmp_path / "sidecar" / "identity.sealed").exists()
