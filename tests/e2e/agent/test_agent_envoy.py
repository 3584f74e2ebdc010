"""The agent in local mode with real Envoy and a real guard worker: a policy from a signed file is enforced and proven."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from bartizan.local.processes import free_port
from bartizan.policy.canonical import canonical
from protos.gen.bartizan.policy.v1 import policy_pb2
from tests.support.agent_stand import Local
from tests.support.orphans import end_orphans

pytestmark = pytest.mark.e2e


def enforced(status: dict[str, Any], version: int) -> bool:
    policy = status["policy"]
    return bool(status["ready"] and policy and policy["version"] == version)


async def test_a_signed_bundle_file_is_enforced_and_children_come_back(local: Local) -> None:
    await local.start()
    status = await local.until(lambda now: enforced(now, 1))
    assert status["policy"]["probe"]["good"]
    assert await local.ask() == 401
    assert await local.ask(key="bzk_" + "x" * 43) == 401
    assert await local.ask("/elsewhere", key=local.key) == 404
    assert local.reached == []
    assert await local.ask(key=local.key) == 200
    assert local.reached == ["hi"]

    worker = status["workers"]["pids"][0]
    os.kill(worker, signal.SIGKILL)
    await local.until(lambda now: now["ready"] and now["workers"]["pids"] not in ([], [worker]))
    assert await local.ask() == 401
    assert await local.ask(key=local.key) == 200

    envoy = status["envoy"]["pid"]
    os.kill(envoy, signal.SIGKILL)
    await local.until(lambda now: now["ready"] and now["envoy"]["pid"] not in (None, envoy))
    assert await local.ask() == 401
    assert await local.ask(key=local.key) == 200


async def test_what_is_not_good_is_refused_and_the_old_bundle_stays(local: Local) -> None:
    await local.start()
    await local.until(lambda now: enforced(now, 1))

    stranger = type(local.signer)(local.new_signing_key())
    local.publish(2, signer=stranger)
    await local.until(lambda now: now["refused"] and now["refused"]["reason"].startswith("signature_invalid"))
    local.publish(
        3,
        local.policy(listener={**local.listener(), "tls": {"cert": "file:none.crt", "key": "file:tls.key"}}),
    )
    status = await local.until(lambda now: now["refused"] and now["refused"]["version"] == 3)
    assert status["refused"] == {"version": 3, "reason": "file_missing", "path": "spec.listener.tls.cert"}
    assert enforced(status, 1)
    assert await local.ask(key=local.key) == 200
    assert await local.ask() == 401

    local.publish(4, local.policy(tenants=["globex"]))
    await local.until(lambda now: enforced(now, 4) and not now["refused"])
    assert await local.ask(key=local.key) == 403
    local.publish(1)
    await local.until(lambda now: now["refused"] and now["refused"]["reason"].startswith("rolled_back"))
    assert await local.ask(key=local.key) == 403


async def test_a_new_certificate_file_is_served_only_when_it_is_good(local: Local) -> None:
    await local.start()
    first = await local.until(lambda now: enforced(now, 1))
    (served,) = first["secret_versions"].values()

    certificate = local.folder / "certs" / "tls.crt"
    good = certificate.read_bytes()
    certificate.write_bytes(b"no certificate")
    bad = await local.until(lambda now: "certificate_refused" in now["conditions"])
    assert list(bad["secret_versions"].values()) == [served]
    assert await local.ask(key=local.key) == 200

    certificate.write_bytes(good)
    local.write_certificate()
    await local.until(lambda now: enforced(now, 1) and list(now["secret_versions"].values()) != [served])
    assert await local.ask(key=local.key) == 200


async def test_a_stopped_worker_or_envoy_is_replaced_and_native_verdicts_are_recorded(local: Local) -> None:
    await local.start()
    status = await local.until(lambda now: enforced(now, 1))
    worker, envoy = status["workers"]["pids"][0], status["envoy"]["pid"]
    os.kill(worker, signal.SIGSTOP)
    await local.until(lambda now: now["ready"] and now["workers"]["pids"] not in ([], [worker]))
    assert await local.ask(key=local.key) == 200
    os.kill(envoy, signal.SIGSTOP)
    await local.until(lambda now: now["ready"] and now["envoy"]["pid"] not in (None, envoy))
    assert await local.ask(key=local.key) == 200
    assert await local.ask("/elsewhere", key=local.key) == 404

    # what the stopped Envoy had not told is a gap: a record without source and cause
    def whole(found: list[dict[str, Any]]) -> bool:
        sources = {one.get("source") for one in found if one.get("cause") in {"allowed", "undeclared"}}
        return {"envoy", "guard"} <= sources

    records = await local.records(whole)
    assert [(one["cause"], one["status"]) for one in records if one.get("source") == "envoy"] == [
        ("undeclared", 404)
    ]
    allowed = {one["status"] for one in records if one.get("cause") == "allowed"}
    assert allowed == {0}, "nobody looked at the answer, so nobody says what it was"


@pytest.mark.parametrize("stopped", [False, True])
async def test_an_agent_that_was_killed_leaves_nothing_open_and_its_successor_takes_over(
    local: Local, *, stopped: bool
) -> None:
    """An Envoy that stands still can't be asked to end, and holds the port."""
    await local.start()
    status = await local.until(lambda now: enforced(now, 1))
    assert local.child is not None
    local.child.signal(signal.SIGKILL)
    await local.child.process.wait()
    async with asyncio.timeout(60):
        while await local.ask(key=local.key) != 503:  # until its worker has heard of it
            await asyncio.sleep(0.05)
    if stopped:
        os.kill(status["envoy"]["pid"], signal.SIGSTOP)
    await local.start()
    again = await local.until(lambda now: enforced(now, 1))
    assert again["envoy"]["pid"] != status["envoy"]["pid"]
    assert await local.ask(key=local.key) == 200


async def test_every_socket_and_its_folder_are_for_our_user_alone(local: Local) -> None:
    run = local.folder / "run"
    run.mkdir(mode=0o755)
    await local.start(BARTIZAN_WORKERS="2")
    await local.until(lambda now: enforced(now, 1))
    sockets = {path.name: path.lstat().st_mode for path in run.iterdir() if path.is_socket()}
    assert set(sockets) == {"xds.sock", "als.sock", "otlp.sock", "admin.sock", "guard-0.sock", "guard-1.sock"}
    assert {name: oct(mode & 0o777) for name, mode in sockets.items()} == dict.fromkeys(sockets, "0o600")
    assert [oct((local.folder / name).stat().st_mode & 0o777) for name in ("run", "state")] == ["0o700"] * 2


async def test_a_second_agent_on_the_run_folder_ends_and_takes_nothing_away(local: Local) -> None:
    await local.start()
    first = local.child
    before = await local.until(lambda now: enforced(now, 1))
    try:
        await local.start(BARTIZAN_HEALTH_LISTEN=f"127.0.0.1:{free_port()}")
        assert local.child is not None
        async with asyncio.timeout(60):
            assert await local.child.process.wait() == 1
        assert f"BARTIZAN_RUN_DIR={local.folder / 'run'} is in use by another agent" in local.child.tail()
    finally:
        local.child = first
    after = await local.until(lambda now: enforced(now, 1))
    assert (after["envoy"], after["workers"]) == (before["envoy"], before["workers"])
    assert await local.ask(key=local.key) == 200


async def test_the_envoy_of_a_killed_agent_can_be_ended_with_its_test(local: Local) -> None:
    await local.start()
    status = await local.until(lambda now: enforced(now, 1))
    assert local.child is not None
    local.child.signal(signal.SIGKILL)
    await local.child.process.wait()
    assert status["envoy"]["pid"] in end_orphans(local.folder)
    async with asyncio.timeout(60):
        while Path(f"/proc/{status['envoy']['pid']}/cmdline").exists():
            if not Path(f"/proc/{status['envoy']['pid']}/cmdline").read_bytes():
                break  # a zombie that init has not reaped yet
            await asyncio.sleep(0.02)


async def test_a_refused_bundle_leaves_no_certificate_behind(local: Local) -> None:
    for issuer, name in ((local.ca, "tls"), (trustme.CA(), "other")):
        issued = issuer.issue_cert("localhost", "127.0.0.1")
        issued.private_key_pem.write_to_path(local.folder / "certs" / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(local.folder / "certs" / f"{name}.crt")
    await local.start()
    await local.until(lambda now: enforced(now, 1))
    other = local.policy(
        listener={**local.listener(), "tls": {"cert": "file:other.crt", "key": "file:other.key"}}
    )
    document = msgspec.json.decode(local.signed(2, other).payload)
    document["envoy"]["routes"][0]["virtual_hosts"][0]["domains"] = ["*", "*"]
    payload = canonical(document)
    bad = policy_pb2.SignedBundle(
        name=document["policy"],
        payload=payload,
        key_id=local.signer.key_id,
        signature=local.signer.sign(payload),
    )
    (local.folder / "bundle.pb").write_bytes(bad.SerializeToString())
    status = await local.until(lambda now: bool(now["refused"]) and now["refused"]["version"] == 2)
    assert status["refused"]["reason"].startswith("envoy_refused")
    for _ in range(10):
        assert await local.ask(key=local.key) == 200, "its issuer is trusted, the other's is not"
