"""The agent with a control plane: attestation, push, NACK, rotation of a secret, outage, restart from what is sealed."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bartizan.policy.signing import LocalSigner
from tests.support.agent_plane import Plane
from tests.support.agent_stand import Local

pytestmark = pytest.mark.e2e


def proven(report: Any, version: int) -> bool:
    state = report.policy
    return bool(
        report.ready
        and state.version == version
        and state.envoy_acked
        and state.workers == state.workers_loaded
        and state.probe.good
    )


def with_credential(local: Local) -> dict[str, Any]:
    return local.policy(
        model={
            "name": "tiny",
            "protocol": "json_fields",
            "port": local.model_port,
            "credential": {"secret": "upstream", "header": "x-model-key"},
        }
    )


async def test_push_refusal_revocation_and_removal(local: Local, plane: Plane) -> None:
    plane.send(local.signed(1), local.keys(1), {})
    await local.start(plane.new_token())
    report = await plane.reported(lambda one: proven(one, 1))
    assert plane.nodes[-1] == ("instance-1", "spiffe://test.example/ns/default/sa/tiny")
    assert report.instance_id == "instance-1"
    assert report.key_set_versions == {"tiny": 1}
    await local.until(lambda _: ("ack", "default/tiny@1", "") in plane.answers)  # another stream than reports
    assert await local.ask() == 401
    assert await local.ask(key=local.key) == 200

    bad = local.policy(listener={**local.listener(), "tls": {"cert": "file:none.crt", "key": "file:tls.key"}})
    plane.send(local.signed(2, bad), local.keys(1), {})
    report = await plane.reported(lambda one: one.policy.refused_version == 2 and proven(one, 1))
    assert (report.policy.refused_reason, report.policy.refused_path) == (
        "file_missing",
        "spec.listener.tls.cert",
    )
    assert await local.ask(key=local.key) == 200

    plane.send(local.signed(3), local.keys(2, revoked=True), {})
    report = await plane.reported(lambda one: proven(one, 3) and one.key_set_versions == {"tiny": 2})
    assert not report.policy.refused_version
    assert await local.ask(key=local.key) == 401

    plane.send(None, local.keys(2, revoked=True), {})
    await plane.reported(lambda one: not one.ready and "no_policy" in one.conditions)
    await local.until(lambda _: ("ack", "none", "") in plane.answers)  # reported is that it will be closed
    with pytest.raises(OSError, match="Connect"):
        await local.ask(key=local.key)


async def test_a_secret_rotates_and_its_generation_is_reported(local: Local, plane: Plane) -> None:
    document = with_credential(local)
    plane.send(local.signed(1, document), local.keys(1), {"upstream": (3, "old")})
    await local.start(plane.new_token())
    report = await plane.reported(lambda one: proven(one, 1))
    assert report.secret_versions["upstream"] == "3"
    assert await local.ask(key=local.key) == 200
    assert local.credentials[-1] == "old"
    plane.send(local.signed(1, document), local.keys(1), {"upstream": (4, "new")})
    await plane.reported(lambda one: one.secret_versions.get("upstream") == "4")
    assert await local.ask(key=local.key) == 200
    assert local.credentials[-1] == "new"


async def test_serving_goes_on_without_a_control_plane_also_after_a_restart(
    local: Local, plane: Plane
) -> None:
    document = with_credential(local)
    plane.send(local.signed(2, document), local.keys(1), {"upstream": (1, "one")})
    await local.start(plane.new_token())
    await plane.reported(lambda one: proven(one, 2))
    await plane.stop()
    await local.until(lambda now: now["ready"] and "control_plane_away" in now["conditions"])
    assert await local.ask(key=local.key) == 200

    assert local.child is not None
    await local.child.stop()
    await local.start(plane.new_token())
    status = await local.until(lambda now: now["ready"])
    assert "serving_last_good" in status["conditions"]
    assert await local.ask(key=local.key) == 200
    assert await local.ask() == 401
    assert local.credentials[-1] == "one"

    tokens = set(plane.tokens)
    plane.reports.clear()
    await plane.start()
    await plane.reported(lambda one: proven(one, 2) and "serving_last_good" not in one.conditions)
    assert plane.tokens == tokens, "the sealed identity needs no join token"
    assert plane.reports[-1].instance_id == "instance-1"
    record = await plane.recorded(lambda one: one["source"] == "guard" and one["status"] == 401)
    assert (record["instance_id"], record["policy"]) == ("instance-1", "default/tiny")


async def test_an_older_bundle_is_refused_after_a_restart_too(local: Local, plane: Plane) -> None:
    plane.send(local.signed(5), local.keys(1), {})
    await local.start(plane.new_token())
    await plane.reported(lambda one: proven(one, 5))
    assert local.child is not None
    local.child.signal(signal.SIGKILL)
    await local.child.process.wait()
    plane.send(local.signed(4), local.keys(1), {})
    plane.reports.clear()
    await local.start(plane.new_token())
    report = await plane.reported(
        lambda one: one.policy.refused_version == 0 and "rolled_back" in one.policy.refused_reason
    )
    assert report.policy.version == 5


async def test_the_identity_is_renewed_at_half_its_life(local: Local, plane: Plane) -> None:
    plane.life = type(plane.life)(seconds=20)  # of which half is for a machine that stands still
    plane.send(local.signed(1), local.keys(1), {})
    await local.start(plane.new_token())
    await plane.reported(lambda one: proven(one, 1))
    streams = len(plane.nodes)
    await plane.reported(lambda _one: plane.renewals > 0 and len(plane.nodes) > streams)
    await plane.reported(lambda one: proven(one, 1))


async def test_a_used_token_attests_nobody(local: Local, plane: Plane) -> None:
    token = plane.new_token()
    plane.tokens.clear()
    await local.start(token)
    status = await local.until(
        lambda _now: "attestation refused" in (local.child.tail(50) if local.child else "")
    )
    assert not status["ready"]
    assert plane.nodes == []


async def test_records_that_wait_when_the_agent_ends_are_shipped_by_the_next_one(
    local: Local, plane: Plane
) -> None:
    plane.send(local.signed(1), local.keys(1), {})
    await local.start(plane.new_token())
    await plane.reported(lambda one: proven(one, 1))
    await plane.stop()
    await local.until(lambda now: "control_plane_away" in now["conditions"])
    asked = [await local.ask(), await local.ask(key=local.key)]
    assert asked == [401, 200]
    assert local.child is not None
    await local.child.stop(grace=60)
    spool = local.folder / "state" / "audit.spool"
    assert spool.stat().st_mode & 0o777 == 0o600
    assert local.key.encode() not in spool.read_bytes()
    assert not [one for one in plane.records if one["source"] == "guard"]

    await plane.start()
    await local.start(plane.new_token())
    await plane.recorded(lambda one: one["source"] == "guard" and one["status"] == 401)
    await plane.recorded(lambda one: one["source"] == "guard" and one["status"] == 0)  # let pass, not seen
    # One that was not answered in time comes again, under its id.
    assert len({one["id"] for one in plane.records if one["source"] == "guard"}) == len(asked)
    # It goes when the agent has the answer, which is after the records came.
    await local.until(lambda _now: not spool.exists())


async def test_a_control_plane_with_another_signing_key_changes_nothing(local: Local, plane: Plane) -> None:
    """Valid TLS, valid certificates, real ADS: only the signature is not the operator's."""
    plane.send(local.signed(2), local.keys(1), {})
    await local.start(plane.new_token())
    await plane.reported(lambda one: proven(one, 2))
    open_to_all = local.policy(tenants=["acme", "evil"])
    tampered = local.signed(3, open_to_all)
    tampered.payload = tampered.payload.replace(b"evil", b"vile")
    nameless = local.signed(3, open_to_all, LocalSigner(local.new_signing_key()))
    nameless.key_id = local.signer.key_id  # the right name over another key's signature
    for bundle, why in (
        (local.signed(3, open_to_all, LocalSigner(local.new_signing_key())), "signature"),
        (nameless, "signature"),
        (tampered, "signature"),
        (local.signed(1, open_to_all), "rolled_back"),
    ):
        plane.answers.clear()
        plane.send(bundle, local.keys(1), {})
        (_, _, reason) = await plane.answered("nack")
        assert why in reason
        assert await local.ask(key=local.key) == 200
        assert await local.ask() == 401
    await plane.reported(lambda one: proven(one, 2))
    plane.send(local.signed(4), local.keys(1), {})
    await plane.reported(lambda one: proven(one, 4))


async def test_a_removal_is_confirmed_only_when_an_envoy_said_so(local: Local, plane: Plane) -> None:
    plane.send(local.signed(1), local.keys(1), {})
    await local.start(plane.new_token())
    await plane.reported(lambda one: proven(one, 1))
    envoy = (await local.status())["envoy"]["pid"]
    plane.answers.clear()
    os.kill(envoy, signal.SIGSTOP)
    plane.send(None, local.keys(1), {})
    async with asyncio.timeout(60):
        while ("ack", "none", "") not in plane.answers:
            await asyncio.sleep(0.01)
    assert not Path(f"/proc/{envoy}").exists(), "the one that did not answer still listens"
    with pytest.raises(aiohttp.ClientConnectionError):
        await local.ask(key=local.key)


async def test_reports_that_a_replica_does_not_take_are_tried_over_a_new_connection(
    local: Local, plane: Plane
) -> None:
    plane.send(local.signed(1), local.keys(1), {})
    await local.start(plane.new_token())
    await plane.reported(lambda one: proven(one, 1))
    plane.behind = True
    async with asyncio.timeout(60):
        while len(set(plane.sent_away)) < 3:
            await asyncio.sleep(0.02)
    plane.reports.clear()
    plane.behind = False
    await plane.reported(lambda one: proven(one, 1))
    await local.until(lambda now: "control_plane_away" not in now["conditions"])
