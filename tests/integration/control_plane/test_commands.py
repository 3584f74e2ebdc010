"""Commands against a running API: keys and tokens are shown once and never lost in silence, slips make no key sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bartizan.errors import InvalidInput
from bartizan.identity import JoinToken, secret_hash
from tests.support.commands import Commands

SPIFFE = "spiffe://test.local/ns/prod/sa/model"


async def test_the_first_key_makes_the_set_that_a_policy_names(
    house: Any, commands: Commands, policy_text: str, tmp_path: Path
) -> None:
    async with house.client() as client:
        await client.apply(policy_text)
    out = tmp_path / "key"
    told = await commands.told("keys", "issue", "chat", "--tenant", "acme", "--out", str(out))
    (record,) = (await commands.told("keys", "list", "chat"))["keys"]
    assert (record["id"], record["tenant"], record["revoked"]) == (told["id"], "acme", False)
    assert out.read_text().startswith("bzk_")


async def test_a_key_set_that_no_policy_names_is_made_only_when_told_to(
    house: Any, commands: Commands, policy_text: str
) -> None:
    async with house.client() as client:
        await client.apply(policy_text)
        slip = await commands.run("keys", "issue", "chatt", "--tenant", "acme")
        assert slip.exit_code == 3
        assert "no key set chatt" in slip.stderr
        assert "did you mean chat?" in slip.stderr
        assert "--create" in slip.stderr
        assert await client.key_sets() == ()
        assert (await commands.run("keys", "issue", "chatt", "--tenant", "acme", "--create")).exit_code == 0
        # once it is there it needs no word more
        assert (await commands.run("keys", "issue", "chatt", "--tenant", "acme")).exit_code == 0
        assert [(each.name, each.keys) for each in await client.key_sets()] == [("chatt", 2)]


async def test_a_key_that_can_t_be_written_is_named_with_the_way_to_revoke_it(
    house: Any, commands: Commands
) -> None:
    async with house.client() as client:
        await client.create_key_set("chat")
        result = await commands.run("keys", "issue", "chat", "--tenant", "acme", "--out", "/dev/full")
        (record,) = (await client.keys("chat")).keys
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert f"key {record.id} was made, but /dev/full can't be written: No space left" in result.stderr
    assert f"bartizan keys revoke chat {record.id}" in result.stderr


async def test_a_policy_is_printed_in_the_order_of_the_reference_and_can_be_applied_again(
    house: Any, commands: Commands, policy_text: str
) -> None:
    async with house.client() as client:
        await client.apply(policy_text)
        for words in (
            ["get", "prod/chat"],
            ["effective", "prod/chat"],
            ["get", "prod/chat", "--revision", "1"],
        ):
            printed = yaml.safe_load((await commands.run("policy", *words)).stdout)
            assert list(printed) == ["apiVersion", "kind", "metadata", "spec"]
            assert list(printed["spec"])[:3] == ["selector", "listener", "model"]
        printed = (await commands.run("policy", "get", "prod/chat")).stdout
        assert not (await client.apply(printed)).changed


async def test_tokens_are_issued_listed_and_revoked(commands: Commands, tmp_path: Path) -> None:
    out = tmp_path / "token"
    made = await commands.told(
        "tokens", "issue", "ci", "--role", "auditor", "--tenant", "acme", "--ttl", "1h", "--out", str(out)
    )
    assert (out.read_text()[:4], out.stat().st_mode & 0o777) == ("bzt_", 0o600)
    listed = {each["id"]: each for each in await commands.told("tokens", "list")}
    (token,) = [listed[made["id"]]]
    assert (token["name"], token["role"], token["tenants"]) == ("ci", "auditor", ["acme"])
    assert token["expires_at"] - token["created_at"] == pytest.approx(3600)
    assert await commands.told("tokens", "revoke", made["id"]) == {"revoked": made["id"]}
    commands.token_file.write_text(out.read_text())
    refused = await commands.run("audit")
    assert (refused.exit_code, refused.stdout) == (4, "")


async def test_events_are_found_by_act_target_and_the_token_that_did_it(
    house: Any, commands: Commands, tmp_path: Path
) -> None:
    out = tmp_path / "token"
    made = await commands.told("tokens", "issue", "ops", "--role", "operator", "--out", str(out))
    root, other = commands.token_file.read_text(), out.read_text()
    commands.token_file.write_text(other)
    for name in ("a", "b", "c"):
        await commands.told("keys", "issue", name, "--tenant", "acme", "--create")
    commands.token_file.write_text(root)

    async def found(*words: str) -> list[tuple[str, str]]:
        return [(each["act"], each["target"]) for each in await commands.told("events", *words)]

    by_token = await found("--token", made["id"])
    assert by_token == [(act, name) for name in "cba" for act in ("key.issue", "key_set.create")]
    assert await found("--act", "key.issue", "--limit", "2") == [("key.issue", "c"), ("key.issue", "b")]
    assert await found("--target", "a") == [("key.issue", "a"), ("key_set.create", "a")]
    assert len(await found("--last", "1h")) == 8
    assert await found("--token", "nobody") == []


async def test_all_events_are_there_page_by_page(house: Any) -> None:
    async with house.client() as client:
        for name in ("a", "b", "c", "d"):
            await client.create_key_set(name)
        first = await client.events_page(limit=3)
        second = await client.events_page(limit=3, cursor=first.cursor)
        assert [each.target for each in first.events] == ["d", "c", "b"]
        assert (second.events[0].act, second.events[0].target) == ("key_set.create", "a")
        assert second.cursor == ""
        assert await client.events() == (*first.events, *second.events)
        assert (await client.events_page(cursor="9" * 18)).events == await client.events()
        with pytest.raises(InvalidInput):
            await client.events_page(cursor="-1")


async def test_a_join_token_goes_into_a_file_that_nobody_else_reads(
    commands: Commands, tmp_path: Path
) -> None:
    out = tmp_path / "join"
    told = await commands.told("join-token", SPIFFE, "--label", "app=chat", "--ttl", "1m", "--out", str(out))
    assert told["file"] == str(out)
    assert JoinToken.decode(out.read_text()).secret
    assert out.stat().st_mode & 0o777 == 0o600
    (event,) = await commands.told("events", "--act", "join_token.create")
    assert event["detail"] == {"id": told["id"], "labels": {"app": "chat"}, "ttl_seconds": 60}


async def test_a_join_token_is_listed_until_it_is_revoked_and_then_lets_nobody_in(
    house: Any, commands: Commands
) -> None:
    made = [await commands.told("join-token", SPIFFE, "--label", "app=chat") for _ in range(2)]
    listed = await commands.told("join-tokens")
    assert {each["id"] for each in listed} == {each["id"] for each in made}
    assert (listed[0]["spiffe_id"], listed[0]["labels"]) == (SPIFFE, {"app": "chat"})
    assert not any(JoinToken.decode(each["token"]).secret in str(listed) for each in made)
    revoked, other = made
    assert await commands.told("revoke-join-token", revoked["id"]) == {"revoked": revoked["id"]}
    assert [each["id"] for each in await commands.told("join-tokens")] == [other["id"]]
    for gone in (revoked["id"], other["id"][:8], "%", "0" * 16):
        assert (await commands.run("revoke-join-token", gone)).exit_code == 3
    async with house.store.begin() as work:
        now = await work.now()
        digests = [secret_hash(JoinToken.decode(each["token"]).secret) for each in made]
        spent = [await work.join_tokens.spend(digest, at=now) for digest in digests]
    assert [row is not None for row in spent] == [False, True]
    assert await commands.told("join-tokens") == []
    events = await commands.told("events", "--act", "join_token.revoke")
    assert [each["target"] for each in events] == [revoked["id"]]
