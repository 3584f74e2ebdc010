"""The command line: every kind of error has its exit code, messages go to standard error, results to standard output."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bartizan.cli.root import cli

ROOT = Path(__file__).resolve().parents[4]
POLICY = ROOT / "examples" / "policies" / "sentiment.yaml"


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    monkeypatch.setenv("BARTIZAN_HOME", str(tmp_path))
    return CliRunner()


def test_each_command_is_found_under_its_own_name() -> None:
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    assert {name: command and command.name for name, command in found.items()} == {
        name: name for name in found
    }
    assert {"up", "sidecar", "join-token"} <= found.keys()


def test_a_valid_policy_is_said_to_be_valid(runner: CliRunner) -> None:
    result = runner.invoke(cli, ["--output", "json", "policy", "validate", str(POLICY)])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "name": "default/sentiment",
        "valid": True,
        "warnings": [],
    }


def test_what_a_valid_policy_may_not_mean_is_a_warning(runner: CliRunner, tmp_path: Path) -> None:
    open_ = tmp_path / "policy.yaml"
    open_.write_text(POLICY.read_text().replace("- pii: {", "- pii: {replacement: token, ", 1))
    assert "token" in open_.read_text()
    result = runner.invoke(cli, ["policy", "validate", str(open_)])
    assert (result.exit_code, result.stdout) == (0, "default/sentiment is valid\n")
    assert result.stderr.startswith("warning: spec.input[")
    assert "exfiltration" in result.stderr


def test_a_broken_policy_ends_with_2_and_names_every_error(runner: CliRunner, tmp_path: Path) -> None:
    broken = tmp_path / "policy.yaml"
    broken.write_text(
        POLICY.read_text().replace("port: 8443", "port: 0").replace("tenants: [acme]", "tenants: []")
    )
    result = runner.invoke(cli, ["policy", "validate", str(broken)])
    assert result.exit_code == 2
    assert "spec.listener.port" in result.stderr
    assert "spec.tenants" in result.stderr
    assert not result.stdout


def test_without_a_control_plane_the_error_says_what_to_set(runner: CliRunner) -> None:
    result = runner.invoke(cli, ["status"])
    assert result.exit_code == 2
    assert {"BARTIZAN_URL", "BARTIZAN_TOKEN_FILE", "BARTIZAN_CA"} <= set(
        result.stderr.replace(",", " ").replace(")", " ").split()
    )


def test_an_unreachable_control_plane_ends_with_5(runner: CliRunner, tmp_path: Path) -> None:
    token, ca = tmp_path / "token", tmp_path / "ca.pem"
    token.write_text("bzt_x")
    ca.write_text("")
    result = runner.invoke(
        cli, ["--url", "https://127.0.0.1:9", "--token-file", str(token), "--ca", str(ca), "status"]
    )
    assert result.exit_code in {2, 5}
    assert result.stderr.startswith("error: ")


def test_nothing_to_stop_ends_with_3(runner: CliRunner) -> None:
    assert runner.invoke(cli, ["down"]).exit_code == 3


def test_the_compiled_bundle_is_json(runner: CliRunner) -> None:
    result = runner.invoke(cli, ["policy", "compile", str(POLICY)])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["policy"] == "default/sentiment"


def test_explain_says_where_each_part_is_enforced(runner: CliRunner) -> None:
    result = runner.invoke(cli, ["policy", "compile", "--explain", str(POLICY)])
    assert result.exit_code == 0
    assert "ext_proc" in result.stdout


def test_the_schema_is_printed_for_editors(runner: CliRunner) -> None:
    result = runner.invoke(cli, ["policy", "schema"])
    assert json.loads(result.stdout)["$schema"].startswith("https://json-schema.org/")


@pytest.mark.parametrize(
    "words", [["--output", "json", "policy", "schema"], ["policy", "schema", "--output", "json"]]
)
def test_the_output_style_may_stand_before_or_after_the_command(runner: CliRunner, words: list[str]) -> None:
    result = runner.invoke(cli, words)
    assert result.exit_code == 0
    assert json.loads(result.stdout)


def test_a_server_with_wrong_settings_ends_with_2(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BARTIZAN_WORKERS", "many")
    assert runner.invoke(cli, ["sidecar"]).exit_code == 2
    monkeypatch.setenv("BARTIZAN_CP_API_LISTEN", "nowhere")
    assert runner.invoke(cli, ["control-plane"]).exit_code == 2
