"""docs/operations.md, Rotating the signing key, is true: its commands are run as they stand, without a gap in service."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from bartizan.identity import TrustDocument
from tests.support.control_plane_stand import POLICY, Stand, stand
from tests.support.typed import ROOT, as_root, type_in

SECTION = (ROOT / "docs/operations.md").read_text().split("## Rotating the signing key")[1].split("\n## ")[0]
ROTATE, FORGET = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("signing-key"), pytest.mark.timeout(300)]


async def known_keys(hurt: Stand) -> set[str]:
    async with hurt.stack.client() as client:
        return set(msgspec.json.decode(await client.trust(), type=TrustDocument).verification_keys)


async def restart_control_plane(hurt: Stand) -> None:
    await hurt.control_plane.stop()
    await hurt.stack.start_control_plane()


async def restart_sidecar(hurt: Stand, *, told: bool = True) -> None:
    """`told`: with a new join token in its file."""
    assert hurt.stack.sidecar is not None
    await hurt.stack.sidecar.stop(grace=20)
    await hurt.stack.start_sidecar(join=told)


async def test_the_signing_key_is_replaced_step_by_step(tmp_path: Path) -> None:
    async with stand() as hurt:
        bao = hurt.stack.bao
        old = await known_keys(hurt)
        await type_in(ROTATE, tmp_path, as_root(bao))
        await restart_control_plane(hurt)
        both = await known_keys(hurt)
        assert old < both
        await hurt.enforced()

        # published too early: refused, and what holds goes on
        async with hurt.stack.client() as client:
            early = await client.apply(hurt.document(tenants=("acme", "more")))

            async def refused() -> bool:
                (row,) = (await client.status(POLICY)).instances
                return row.state == "refused" and row.reason.startswith("signature_invalid")

            await hurt.until(refused)
        assert (await hurt.ask(), await hurt.ask("")) == (200, 401)

        await restart_sidecar(hurt)
        assert await hurt.enforced(early.version) == early.version

        # what it has learned outlives it, with nobody to ask
        await hurt.control_plane.stop()
        await restart_sidecar(hurt, told=False)
        assert "serving_last_good" in (await hurt.stack.sidecar_status())["conditions"]
        assert (await hurt.ask(), await hurt.ask("")) == (200, 401)
        await hurt.stack.start_control_plane()

        await type_in(FORGET, tmp_path, as_root(bao))
        await restart_control_plane(hurt)
        assert await known_keys(hurt) == both - old
        await restart_sidecar(hurt)
        async with hurt.stack.client() as client:
            last = await client.apply(hurt.document())
        assert await hurt.enforced(last.version) == last.version
