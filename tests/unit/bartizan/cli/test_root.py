"""The command line: every kind of error has its exit code, messages go to standard error, results to standard output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bartizan.cli.catalog import SECTIONS
from bartizan.cli.root import cli
from bartizan.local.processes import free_port

ROOT = Path(__file__).resolve().parents[4]
POLICY = ROOT / "examples" / "policies" / "sentiment.yaml"


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    monkeypatch.setenv("BARTIZAN_HOME", str(tmp_path))
    for named in ("BARTIZAN_URL", "BARTIZAN_TOKEN_FILE", "BARTIZAN_CA"):  # the caller's own
        monkeypatch.delenv(named, raising=False)
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


def test_a_problem_of_a_file_is_named_with_file_and_line(runner: CliRunner, tmp_path: Path) -> None:
    broken = tmp_path / "policy.yaml"
    broken.write_text(POLICY.read_text().replace("port: 8443", "port: 0"))
    line = next(n for n, text in enumerate(broken.read_text().splitlines(), start=1) if "port: 0" in text)
    result = runner.invoke(cli, ["policy", "validate", str(broken)])
    assert result.stderr.startswith(
        f"error: {broken}: the policy has one problem\n  line {line}, spec.listener"
    )


def test_all_files_of_a_folder_are_judged(runner: CliRunner, tmp_path: Path) -> None:
    for name, text in (("a.yaml", POLICY.read_text()), ("b.yml", "kind: ["), ("notes.txt", "kind: [")):
        (tmp_path / name).write_text(text)
    result = runner.invoke(cli, ["policy", "validate", str(tmp_path)])
    assert (result.exit_code, result.stdout) == (2, "default/sentiment is valid\n")
    assert "b.yml: the policy has one problem" in result.stderr
    assert result.stderr.endswith("1 of 2 policies are wrong\n")
    told = json.loads(runner.invoke(cli, ["policy", "validate", str(tmp_path), "--output", "json"]).stdout)
    assert [(each["valid"], [one["code"] for one in each.get("problems", ())]) for each in told] == [
        (True, []),
        (False, ["malformed"]),
    ]
    (tmp_path / "empty").mkdir()
    assert runner.invoke(cli, ["policy", "validate", str(tmp_path / "empty")]).exit_code == 3


NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: models}\n"
WRONG = POLICY.read_text().replace("port: 8443", "port: 0").replace("name: sentiment", "name: second")


def test_each_policy_of_a_manifest_is_judged_and_named_with_its_number_and_the_files_line(
    runner: CliRunner, tmp_path: Path
) -> None:
    manifest = tmp_path / "manifest.yaml"
    text = f"{NAMESPACE}---\n{POLICY.read_text()}---\n{WRONG}---\nkind: [\n---\nkind: ModelPolicy\n"
    manifest.write_text(text)
    line = next(n for n, each in enumerate(text.splitlines(), start=1) if "port: 0" in each)
    result = runner.invoke(cli, ["policy", "validate", str(manifest)])
    assert (result.exit_code, result.stdout) == (2, "default/sentiment is valid\n")
    said = result.stderr.splitlines()
    assert said[0] == f"{manifest}, document 1: Namespace of v1 is no policy, passed over"
    assert said[1:3] == [
        f"error: {manifest}, document 3: the policy has one problem",
        f"  line {line}, spec.listener.port: expected at least 1",
    ]
    last = len(text.splitlines())
    assert said[3] == f"error: {manifest}, document 4: the policy has one problem"
    assert said[4].startswith(f"  (document): line {last - 1}, column 1: ")
    assert said[5].startswith(f"error: {manifest}, document 5: the policy has ")
    assert said[-1] == "3 of 4 policies are wrong"
    told = json.loads(runner.invoke(cli, ["policy", "validate", str(manifest), "--output", "json"]).stdout)
    assert [(each["valid"], each.get("document")) for each in told] == [
        (True, None), (False, 3), (False, 4), (False, 5),
    ]  # fmt: skip


def test_a_manifest_without_a_policy_is_not_called_valid(runner: CliRunner) -> None:
    others = f"{NAMESPACE}---\n{NAMESPACE}"
    assert runner.invoke(cli, ["policy", "validate", "-"], input=others).exit_code == 3
    assert runner.invoke(cli, ["policy", "validate", "-"], input=NAMESPACE).exit_code == 2
    misspelt = POLICY.read_text().replace("bartizan.dev/", "bartisan.dev/")
    assert runner.invoke(cli, ["policy", "validate", "-"], input=f"{others}---\n{misspelt}").exit_code == 2


def test_a_policy_may_come_from_standard_input(runner: CliRunner) -> None:
    assert runner.invoke(cli, ["policy", "validate", "-"], input=POLICY.read_text()).exit_code == 0


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


def test_compile_names_the_lines_of_a_wrong_mesh_policy_in_its_own_file(
    runner: CliRunner, tmp_path: Path
) -> None:
    mesh = tmp_path / "mesh.yaml"
    mesh.write_text("kind: MeshPolicy\n\n\n\nspec:\n  selectr: {}\n")
    result = runner.invoke(cli, ["policy", "compile", str(POLICY), "--mesh", str(mesh)])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {mesh}: the policy has ")
    assert "  line 6, spec.selectr: " in result.stderr


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


def test_the_help_has_each_command_once_in_a_line_of_its_own(runner: CliRunner) -> None:
    lines = runner.invoke(cli, ["--help"], terminal_width=80).stdout.splitlines()
    for _, entries in SECTIONS:
        for entry in entries:
            assert [line.split()[1:] for line in lines if line.startswith(f"  {entry.name} ")] == [
                entry.about.split()
            ]


def test_help_and_completion_wait_for_no_library_of_single_commands() -> None:
    heavy = ["aiohttp", "cryptography", "jsonschema", "rich", "structlog", "yaml"]
    program = f"import bartizan.cli.root, sys; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"


def test_a_slip_in_a_command_s_name_is_answered_with_what_may_be_meant(runner: CliRunner) -> None:
    result = runner.invoke(cli, ["staus"])
    assert result.exit_code == 2
    assert "status" in result.stderr


def test_the_shell_is_told_commands_and_options(runner: CliRunner) -> None:
    script = runner.invoke(cli, ["completion", "bash"])
    assert (script.exit_code, "_BARTIZAN_COMPLETE=bash_complete" in script.stdout) == (0, True)
    context = click.Context(cli, info_name="bartizan")
    assert [item.value for item in cli.shell_complete(context, "s")] == [
        "secrets",
        "status",
        "scan",
        "sidecar",
    ]
    assert "--url" in [item.value for item in cli.shell_complete(context, "--u")]
    assert "capture" not in [item.value for item in cli.shell_complete(context, "")]


@pytest.mark.parametrize("how", [(), ("--detach",)])
def test_a_folder_that_takes_nothing_is_told_without_a_traceback(
    runner: CliRunner, how: tuple[str, ...]
) -> None:
    policy = ROOT / "examples" / "quickstart" / "policy.yaml"
    words = ["up", "--model", "http://127.0.0.1:1", "--policy", str(policy), "--state", "/sys/bartizan"]
    result = runner.invoke(cli, [*words, "--listen", f"127.0.0.1:{free_port()}", *how])
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert "warning: 0 MiB free at /sys" in result.stderr
    assert "error: /sys/bartizan: " in result.stderr


def test_a_file_that_may_not_be_read_is_not_said_to_be_one_that_can_t_be_written(
    runner: CliRunner, tmp_path: Path
) -> None:
    file = tmp_path / "attacks.txt"
    file.symlink_to("/sys/bus/cpu/uevent")  # nobody may read it, root neither
    result = runner.invoke(cli, ["policy", "bench", "--attacks", str(tmp_path), "--benign", str(tmp_path)])
    assert (result.exit_code, result.stderr) == (1, f"error: {file}: Permission denied\n")
