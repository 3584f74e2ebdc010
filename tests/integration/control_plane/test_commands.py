"""Commands against a running API: keys and tokens are shown once and never lost in silence, slips make no key sets."""

from __future__ import annotations

import asyncio
import datetime
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from bartizan.cli.reasons import meaning
from bartizan.cli.root import cli
from bartizan.errors import InvalidInput
from bartizan.identity import JoinToken, secret_hash
from bartizan.local.processes import free_port
from control_plane.fleet.proof import Instance, Wanted
from control_plane.store.base import AuditRow

SPIFFE = "spiffe://test.local/ns/prod/sa/model"

MESH = """
apiVersion: bartizan.dev/v1alpha1
kind: MeshPolicy
metadata: {name: base}
spec: {selector: {}, defaults: {mode: shadow}}
"""


class Commands:
    """The command line of somebody with an admin token for a house."""

    def __init__(self, house: Any, folder: Path) -> None:
        self.house = house
        self.token_file = folder / "admin-token"
        self.token_file.write_text(house.admin)

    async def run(self, *words: str) -> Result:
        options = ["--url", self.house.url, "--ca", str(self.house.ca_file)]
        # a command has a loop of its own
        return await asyncio.to_thread(
            CliRunner().invoke, cli, [*options, "--token-file", str(self.token_file), *words]
        )

    async def completed(self, *words: str) -> list[str]:
        """What the shell offers for the last word."""
        options = ["--url", self.house.url, "--ca", str(self.house.ca_file)]
        typed = [*options, "--token-file", str(self.token_file), *words[:-1]]
        shell = ShellComplete(cli, {}, "bartizan", "_BARTIZAN_COMPLETE")
        return [item.value for item in await asyncio.to_thread(shell.get_completions, typed, words[-1])]

    async def told(self, *words: str) -> Any:
        result = await self.run(*words, "--output", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def commands(house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.setenv("BARTIZAN_HOME", str(tmp_path / "home"))
    return Commands(house, tmp_path)


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


async def test_the_shell_is_told_the_names_that_the_control_plane_knows(
    house: Any, commands: Commands, policy_text: str
) -> None:
    async with house.client() as client:
        await client.apply(policy_text)
    assert await commands.completed("policy", "undo", "pr") == ["prod/chat"]
    assert await commands.completed("policy", "undo", "x") == []
    commands.token_file.write_text("bzt_wrong")
    assert await commands.completed("policy", "undo", "pr") == []


async def test_what_a_control_plane_refuses_of_a_file_is_named_with_its_lines(
    commands: Commands, policy_text: str, tmp_path: Path
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(policy_text.replace("kind: ModelPolicy", "kind: ModelPolicy\nextra: 1"))
    line = file.read_text().splitlines().index("extra: 1") + 1
    refused = await commands.run("policy", "apply", str(file))
    assert refused.exit_code == 2
    assert f"error: {file}: the policy has one problem\n  line {line}, extra: " in refused.stderr


async def test_who_may_not_is_told_with_which_token_and_which_roles_may(
    house: Any, commands: Commands
) -> None:
    commands.token_file.write_text(await house.token("viewer"))
    refused = await commands.run("audit")
    assert refused.exit_code == 4
    assert "role viewer lacks the permission read_audit, which have: auditor, admin" in refused.stderr
    assert str(commands.token_file) in refused.stderr


async def test_a_control_plane_that_is_away_is_told_in_the_system_s_words(
    house: Any, commands: Commands
) -> None:
    away = await commands.run("--url", f"https://127.0.0.1:{free_port()}", "status")
    assert away.exit_code == 5
    assert away.stderr.endswith(": Connection refused\n")
    nowhere = await commands.run("--url", "https://nowhere.invalid:8440", "status")
    assert (nowhere.exit_code, "nowhere.invalid" in nowhere.stderr) == (5, True)


async def test_a_monitor_asks_for_what_is_not_proven(
    house: Any, commands: Commands, policy_text: str
) -> None:
    none = await commands.run("status", "--unproven")
    assert (none.exit_code, none.stdout) == (0, "")
    async with house.client() as client:
        await client.apply(policy_text, rollout=False)
        stored = await commands.run("status", "prod/chat", "--unproven")
        assert (stored.exit_code, "prod/chat" in stored.stdout) == (1, True)
        assert (await commands.run("status", "--unproven")).exit_code == 0
        await client.apply(policy_text)
    unread = await commands.run("status", "--unproven")
    assert (unread.exit_code, "prod/chat" in unread.stdout) == (1, True)
    assert "version 1 is published, and not offered to sidecars" in unread.stderr
    assert unread.stderr.endswith("0 of 1 published policies enforced\n")
    house.ledger.want(
        Wanted(
            policy="prod/chat",
            namespace="prod",
            match_labels={"app": "chat"},
            revision=1,
            version=1,
            plan_hash="h",
        )
    )
    alarm = await commands.run("status", "--unproven")
    assert (alarm.exit_code, "prod/chat" in alarm.stdout) == (1, True)
    assert "no sidecar that is connected carries its selector's labels" in alarm.stderr
    house.ledger.admit(Instance(instance_id="i", spiffe_id=SPIFFE, namespace="prod", labels={"app": "chat"}))
    pending = await commands.run("status")
    assert (pending.exit_code, "not_reported_yet" in pending.stdout) == (0, True)
    assert pending.stderr == (
        f"not_reported_yet: {meaning('not_reported_yet')}\n0 of 1 published policies enforced\n"
    )


async def test_a_dry_run_shows_what_would_change_and_stores_nothing(
    house: Any, commands: Commands, policy_text: str, tmp_path: Path
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(policy_text)
    new = await commands.run("policy", "apply", str(file), "--dry-run")
    assert (new.exit_code, "nothing is published" in new.stdout) == (0, True)
    async with house.client() as client:
        assert await client.policies() == ()
        await client.apply(policy_text)
        # stored, not published: what is compared with is what sidecars have
        await client.apply(policy_text.replace("rate: 5/s", "rate: 7/s"), rollout=False)
        same = await commands.run("policy", "apply", str(file), "--dry-run")
        assert same.stdout == "prod/chat is valid and says what revision 1 does\n"
        file.write_text(policy_text.replace("rate: 5/s", "rate: 50/s"))
        told = await commands.told("policy", "apply", str(file), "--dry-run")
        assert (told["from_revision"], len(told["changes"])) == (1, 1)
        (change,) = told["changes"]
        assert (change["before"], change["after"]) == ("5/s", "50/s")
        assert change["loosens"]
        assert change["loosens"] in (await commands.run("policy", "apply", str(file), "--dry-run")).stdout
        file.write_text(policy_text.replace("tenants: [acme]", "tenants: []"))
        wrong = await commands.run("policy", "apply", str(file), "--dry-run")
        assert (wrong.exit_code, wrong.stdout) == (2, "")
        assert [each.number for each in await client.revisions("prod/chat")] == [2, 1]
        await client.delete_policy("prod/chat")
        assert (await client.validate(policy_text)).from_revision == 0
    file.write_text(MESH)
    mesh = await commands.run("policy", "apply", str(file), "--dry-run")
    assert (mesh.exit_code, "MeshPolicy base and its endpoints are valid" in mesh.stdout) == (0, True)


async def test_what_changed_since_a_revision_needs_no_second_number(
    house: Any, commands: Commands, policy_text: str, tmp_path: Path
) -> None:
    async with house.client() as client:
        for rate in (5, 6, 7):
            await client.apply(policy_text.replace("rate: 5/s", f"rate: {rate}/s"))
    for words, after in ((("1",), "7/s"), (("1", "2"), "6/s")):
        (change,) = (await commands.told("policy", "diff", "prod/chat", *words))["changes"]
        assert (change["before"], change["after"]) == ("5/s", after)
    same = await commands.run("policy", "diff", "prod/chat", "3")
    assert (same.exit_code, same.stdout, same.stderr) == (0, "", "no difference\n")
    file = tmp_path / "policy.yaml"
    file.write_text(policy_text.replace("rate: 5/s", "rate: 7/s"))
    async with house.client() as client:
        await client.apply(MESH)
        await client.apply(MESH.replace("shadow", "enforce"))
    (change,) = (await commands.told("mesh", "diff", "base", "1"))["changes"]
    assert (change["before"], change["after"]) == ("shadow", "enforce")
    assert "no new revision" in (await commands.run("policy", "apply", str(file))).stdout


async def test_a_decision_is_explained_with_the_rule_of_the_revision_that_it_was_made_under(
    house: Any, commands: Commands, policy_text: str
) -> None:
    async with house.client() as client:
        await client.apply(policy_text, reason="first")
        await client.apply(policy_text.replace("action: redact", "action: flag"), reason="looser")
    record: dict[str, Any] = {
        "type": "decision",
        "id": "ab" * 16,
        "time": 1_796_000_000.0,
        "policy": "prod/chat",
        "revision": "1.1",
        "source": "guard",
        "phase": "request",
        "action": "redact",
        "cause": "allowed",
        "status": 200,
        "method": "POST",
        "path": "/predict",
        "tenant": "acme",
        "findings": [
            {"check": "pii", "kind": "email", "action": "redact", "location": "text", "direction": "request"}
        ],
        "trace_id": "cd" * 16,
    }
    row = AuditRow(
        id=record["id"],
        time=record["time"],
        type="decision",
        tenant="acme",
        policy="prod/chat",
        cause="allowed",
        action="redact",
        trace_id=record["trace_id"],
        json=json.dumps(record),
    )
    async with house.store.begin() as work:
        await work.audit.add([row])
    said = (await commands.run("explain", record["id"])).stdout
    for part in (
        "tenant acme",
        "POST /predict, of prod/chat",
        "redact, allowed; the client got 200",
        "pii email in request text: redact",
        "spec.input[0]: {pii: {action: redact}}",
        "first",
    ):
        assert part in said
    assert "looser" not in said
    assert said == (await commands.run("explain", record["trace_id"])).stdout
    (told,) = await commands.told("explain", record["id"])
    assert (told["record"], told["rules"]) == (record, {"spec.input[0]": {"pii": {"action": "redact"}}})
    # evidence outlives the policy
    async with house.client() as client:
        await client.delete_policy("prod/chat")
    assert (await commands.told("explain", record["id"]))[0]["rules"] == {}
    unknown = await commands.run("explain", "ef" * 16)
    assert (unknown.exit_code, unknown.stdout) == (3, "")


async def test_times_of_the_search_are_told_as_they_are_shown(commands: Commands, house: Any) -> None:
    async with house.client() as client:
        await client.create_key_set("chat")
    (event,) = await commands.told("events", "--act", "key_set.create")
    at = datetime.datetime.fromtimestamp(event["time"], datetime.UTC)
    before, after = (at + datetime.timedelta(seconds=by) for by in (-1, 1))
    for options, found in (
        (("--since", before.isoformat(" ")), 1),
        (("--since", after.isoformat()), 0),
        (("--until", before.isoformat()), 0),
        (("--since", before.isoformat(), "--until", after.isoformat()), 1),
    ):
        assert len(await commands.told("events", "--act", "key_set.create", *options)) == found
    none = await commands.run("events", "--until", "2020-01-01")
    assert (none.exit_code, none.stdout, none.stderr) == (0, "", "nothing found\n")
    assert (await commands.run("audit", "--since", "yesterday")).exit_code == 2
    assert (await commands.run("audit", "--since", "2020-01-01", "--last", "1h")).exit_code == 2


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
