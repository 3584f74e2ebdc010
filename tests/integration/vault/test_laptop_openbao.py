"""The script that sets up the laptop cluster's OpenBao, run against a real development server."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import aiohttp

from bartizan.local.binaries import find_binary
from bartizan.local.processes import free_port, start
from bartizan.tls import CertificateSource
from control_plane.identity.issuer import Issuer
from control_plane.push.sign import TransitSigner
from control_plane.secrets.vault import Vault, VaultSettings

SCRIPT = Path(__file__).parents[3] / "deploy/k8s/overlays/dev/openbao-setup.sh"


async def test_the_script_leaves_what_the_control_plane_needs(tmp_path: Path) -> None:
    bao, port = find_binary("bao"), free_port()
    address = f"http://127.0.0.1:{port}"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/bao").symlink_to(bao)
    command = ["server", "-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{port}"]
    server = await start(
        "openbao",
        [str(bao), *command, "-dev-root-token-id=laptop"],
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
            "sh",
            str(SCRIPT),
            str(tmp_path / "token"),
            env={
                "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
                "HOME": str(tmp_path),
                "BAO_ADDR": address,
                "BAO_TOKEN": "laptop",
            },
        )
        assert await setup.wait() == 0
        assert (tmp_path / "token").stat().st_mode & 0o077 == 0
        vault = Vault(
            VaultSettings(
                address=address,
                token_file=tmp_path / "token",
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
