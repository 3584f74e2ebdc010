"""What sets up an OpenBao, the laptop cluster's script and the commands of docs/operations.md, run against a real server."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import aiohttp
import pytest

from bartizan.local.binaries import find_binary
from bartizan.local.processes import free_port, start
from bartizan.tls import CertificateSource
from control_plane.identity.issuer import Issuer
from control_plane.push.sign import TransitSigner
from control_plane.secrets.vault import Vault, VaultSettings

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "deploy/k8s/overlays/dev/openbao-setup.sh"


SECTION = (ROOT / "docs/operations.md").read_text().split("## Vault or OpenBao")[1].split("\n## ")[0]


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", SECTION, re.DOTALL)
    return str(found)


@pytest.mark.parametrize(
    "command",
    [["sh", str(SCRIPT), "vault-token"], ["bash", "-euc", block("sh")]],
    ids=["the script", "the document"],
)
async def test_it_leaves_what_the_control_plane_needs(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "bartizan.hcl").write_text(block("hcl"))
    bao, port = find_binary("bao"), free_port()
    address = f"http://127.0.0.1:{port}"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/bao").symlink_to(bao)
    server_command = ["server", "-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{port}"]
    server = await start(
        "openbao",
        [str(bao), *server_command, "-dev-root-token-id=laptop"],
        log=tmp_path / "bao.log",
        env={"HOME": str(tmp_path)},
    )
    try:
        async with aiohttp.ClientSession() as client, asyncio.timeout(60):
            while True:
                server.check()
                try:
                    async with client.get(f"{address}/v1/sys/health") as answer:
                        if answer.status == 200:
                            break
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)
        setup = await asyncio.create_subprocess_exec(
            *command,
            cwd=tmp_path,
            env={
                "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
                "HOME": str(tmp_path),
                "BAO_ADDR": address,
                "BAO_TOKEN": "laptop",
            },
        )
        assert await setup.wait() == 0
        assert (tmp_path / "vault-token").stat().st_mode & 0o077 == 0
        vault = Vault(
            VaultSettings(
                address=address,
                token_file=tmp_path / "vault-token",
                ca_file=None,
                kv="bartizan-kv",
                pki="bartizan-pki",
                transit="bartizan-transit",
            )
        )
        try:
            issuer = Issuer(vault, trust_domain="dev.example", hosts=("cp",), source=CertificateSource())
            await issuer.start()
            assert issuer.ready
            assert await TransitSigner(vault, "bartizan-bundles").public_keys()
        finally:
            await vault.close()
    finally:
        await server.stop()
