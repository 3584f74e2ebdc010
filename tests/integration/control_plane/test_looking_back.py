"""Looking back at what is in effect: a comparison that can't be made says why, one publication is asked for by its version,
and a key set tells who changed it last.
"""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from bartizan.client import Client
from bartizan.errors import NotFound
from control_plane.api.auth import Tokens
from control_plane.api.server import application, serve
from control_plane.store.base import AuditRow, PublicationRow, RevisionRow
from tests.support.commands import Commands


async def stored_by_an_older_release(house: Any, text: str) -> None:
    """Published, and no longer valid here."""
    document = {**yaml.safe_load(text)}
    document["spec"] = {**document["spec"], "gone": True}
    revision = RevisionRow(
        policy="prod/chat",
        number=1,
        document=json.dumps(document),
        digest="d",
        author="a",
        reason="",
        created_at=1.0,
    )
    publication = PublicationRow(
        policy="prod/chat",
        version=1,
        revision=1,
        bundle=b"",
        key_id="k",
        plan_hash="h",
        published_at=1.0,
        published_by="a",
    )
    async with house.store.begin() as work:
        await work.policies.add_revision(revision, namespace="prod")
        await work.policies.publish(publication)


async def test_a_preview_names_the_published_revision_that_it_cannot_be_compared_with_and_why(
    house: Any, commands: Commands, policy_text: str, tmp_path: Path
) -> None:
    await stored_by_an_older_release(house, policy_text)
    async with house.client() as client:
        preview = await client.validate(policy_text)
    assert (preview.from_revision, preview.changes) == (1, ())
    assert [(one.path, one.code) for one in preview.uncomparable] == [("spec.gone", "unknown_field")]
    file = tmp_path / "policy.yaml"
    file.write_text(policy_text)
    shown = await commands.run("policy", "apply", str(file), "--dry-run")
    assert (shown.exit_code, "revision 1, which is published, no longer is" in shown.stdout) == (0, True)
    assert "spec.gone" in shown.stdout


async def test_one_publication_is_asked_for_by_its_version(house: Any, policy_text: str) -> None:
    async with house.client() as client:
        for rate in (5, 7, 9):
            await client.apply(policy_text.replace("rate: 5/s", f"rate: {rate}/s"))
        every = await client.publications("prod/chat")
        assert [await client.publication("prod/chat", one.version) for one in every] == list(every)
        for version in (0, 4):
            with pytest.raises(NotFound):
                await client.publication("prod/chat", version)


async def test_one_publication_of_an_older_control_plane_is_found_in_its_list(
    house: Any, policy_text: str, tmp_path: Path
) -> None:
    known = [each for each in house.operations if not each.path.endswith("/publications/{version}")]
    assert len(known) == len(house.operations) - 1
    ca, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.cert_pem.write_to_path(str(tmp_path / "older.pem"))
    tokens = Tokens(house.store, tmp_path / "no-bootstrap-token")
    app = application(known, tokens, "1.0.0", lambda _event: None)
    runner, port = await serve(app, "127.0.0.1", 0, context)
    try:
        address, ca_file = f"https://127.0.0.1:{port}", tmp_path / "older.pem"
        async with Client(address, house.admin, ca_file=ca_file) as client:
            await client.apply(policy_text)
            [one] = await client.publications("prod/chat")
            assert await client.publication("prod/chat", 1) == one
            with pytest.raises(NotFound):
                await client.publication("prod/chat", 2)
    finally:
        await runner.cleanup()


async def test_an_explained_decision_names_its_publication_among_many(
    house: Any, commands: Commands, policy_text: str
) -> None:
    async with house.client() as client:
        await client.apply(policy_text)
        await client.apply(policy_text.replace("rate: 5/s", "rate: 7/s"))
    record = {"id": "a" * 32, "time": 1.0, "policy": "prod/chat", "revision": "1.1", "cause": "rate_limited"}
    async with house.store.begin() as work:
        await work.audit.add([AuditRow(id="a" * 32, time=1.0, json=json.dumps(record))])
    (told,) = await commands.told("explain", "a" * 32)
    assert (told["published"]["version"], told["revision"]["number"]) == (1, 1)


async def test_a_key_set_tells_its_valid_keys_and_its_last_change(house: Any, commands: Commands) -> None:
    async with house.client() as client:
        made = await client.create_key_set("chat")
        assert (made.keys, made.version, made.cause) == (0, 1, "created")
        issued = [await client.issue_key("chat", tenant="acme") for _ in range(3)]
        await client.create_key_set("other")
        await client.revoke_key("chat", issued[0].id)
        chat, other = await client.key_sets()
    assert (chat.name, chat.keys, chat.version, chat.cause) == ("chat", 2, 5, "revoked")
    assert (other.name, other.keys, other.version, other.cause) == ("other", 0, 1, "created")
    assert chat.changed_by.startswith("root (")
    assert chat.changed_at >= other.changed_at
    assert "revoked" in (await commands.run("keys", "list")).stdout
