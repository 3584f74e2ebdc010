"""The way back in when nobody has an admin token any more: on the control plane's host, beside it or without it."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from control_plane.recover import ACT
from tests.support.commands import Commands


async def test_who_has_the_host_gets_an_admin_token_beside_the_running_process_and_an_event_says_so(
    house: Any, commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BARTIZAN_CP_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("LOGNAME", "somebody else\x1b[2J")
    async with house.client() as client:
        [lost] = await client.tokens()
    made = await commands.run(
        "control-plane", "new-admin", "back", "--ttl", "1h", "--out", str(tmp_path / "new-token")
    )
    assert made.exit_code == 0, made.output
    commands.token_file = tmp_path / "new-token"
    assert (await commands.run("tokens", "revoke", lost.id)).exit_code == 0
    events = await commands.told("events", "--act", ACT)
    [event] = events
    assert event["actor"] == f"{pwd.getpwuid(os.getuid()).pw_name} (host)"
    [back] = [each for each in await commands.told("tokens", "list") if each["id"] == event["target"]]
    assert (back["name"], back["role"], back["created_by"]) == ("back", "admin", event["actor"])


async def test_nothing_is_made_where_no_control_plane_has_been(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty"
    monkeypatch.setenv("BARTIZAN_CP_STATE_DIR", str(empty))
    refused = await commands.run("control-plane", "new-admin", "back")
    assert (refused.exit_code, "no control plane has used this store" in refused.stderr) == (3, True)
    empty.mkdir()
    (empty / "store.db").touch()
    refused = await commands.run("control-plane", "new-admin", "back")
    assert (refused.exit_code, "no control plane has used this store" in refused.stderr) == (3, True)


@pytest.mark.parametrize(
    ("words", "said"), [(["x" * 129], "name"), (["back", "--ttl", "91d"], "ttl_seconds")]
)
async def test_what_the_api_would_refuse_of_a_token_is_refused_here(
    words: list[str], said: str, house: Any, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BARTIZAN_CP_STATE_DIR", str(house.bootstrap.parent))
    refused = await commands.run("control-plane", "new-admin", *words)
    assert (refused.exit_code, said in refused.stderr) == (2, True), refused.stderr
    async with house.client() as client:
        assert len(await client.tokens()) == 1


async def test_a_wrong_place_is_named_by_its_variable(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BARTIZAN_CP_STORE", "mysql://user:hunter2@db/x")
    refused = await commands.run("control-plane", "new-admin", "back")
    assert (refused.exit_code, "BARTIZAN_CP_STORE" in refused.stderr) == (2, True)
    assert "hunter2" not in refused.stderr


async def test_a_lone_command_prints_the_token_for_who_is_in_a_pod(
    house: Any, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BARTIZAN_CP_STATE_DIR", str(house.bootstrap.parent))
    made = await commands.run("control-plane", "new-admin", "back", "--output", "json")
    async with house.client(json.loads(made.stdout)["token"]) as client:
        assert {each.name for each in await client.tokens()} == {"root", "back"}
