"""Commands of those on call and of who changes a policy: names, refusals, dry runs, differences, explained decisions."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from bartizan.cli.reasons import meaning
from bartizan.local.processes import free_port
from control_plane.fleet.proof import Instance, Wanted
from control_plane.store.base import AuditRow
from tests.support.commands import Commands

SPIFFE = "spiffe://test.local/ns/prod/sa/model"

MESH = """
apiVersion: bartizan.dev/v1alpha1
kind: MeshPolicy
metadata: {name: base}
spec: {selector: {}, defaults: {mode: shadow}}
"""


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
    for name in (record["trace_id"], f"bartizan_{record['id']}"):  # as Jaeger and as an error body say it
        assert said == (await commands.run("explain", name)).stdout
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
