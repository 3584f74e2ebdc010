"""`bartizan inject` and `bartizan analyze`: YAML in, YAML or findings out, with exit codes for scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from bartizan.cli.root import cli
from tests.support.kubernetes_schemas import schema_errors
from tests.support.pod_cases import IMAGE

APP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat, creationTimestamp: 2026-01-01T00:00:00Z}
spec:
  selector: {matchLabels: {app: chat}}
  template:
    metadata: {labels: {app: chat}}
    spec: {containers: [{name: m, image: "vllm/vllm-openai:1", args: [--host, 127.0.0.1], ports: [{containerPort: 8000}]}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template: {spec: {restartPolicy: Never, containers: [{name: score, image: "registry.example/score:1"}]}}
---
apiVersion: v1
kind: Service
metadata: {name: chat}
spec: {selector: {app: chat}, ports: [{port: 443, targetPort: 8000}]}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: untouched}
"""


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    monkeypatch.setenv("BARTIZAN_HOME", str(tmp_path))
    return CliRunner()


def test_workloads_get_their_sidecar_and_services_lead_to_it(runner: CliRunner) -> None:
    result = runner.invoke(cli, ["inject", "--image", IMAGE], input=APP)
    assert result.exit_code == 0, result.stderr
    deployment, cron, service, listed = yaml.safe_load_all(result.stdout)
    for document in (deployment, cron, service):
        assert schema_errors(document) == []
    assert deployment["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"
    for pod in (deployment["spec"]["template"], cron["spec"]["jobTemplate"]["spec"]["template"]):
        assert pod["spec"]["initContainers"][0]["image"] == IMAGE
    assert service["spec"]["ports"] == [{"port": 443, "targetPort": 8443}]
    assert listed["items"][0]["metadata"] == {"name": "untouched"}
    assert "Deployment chat: injected" in result.stderr
    assert "engine=vllm" in result.stderr


def test_injecting_what_was_injected_changes_nothing(runner: CliRunner) -> None:
    first = runner.invoke(cli, ["inject", "--image", IMAGE], input=APP)
    second = runner.invoke(cli, ["inject", "--image", IMAGE], input=first.stdout)
    assert second.exit_code == 0
    assert second.stdout == first.stdout
    assert "already_injected" in second.stderr


def test_json_comes_out_as_json(runner: CliRunner) -> None:
    result = runner.invoke(cli, ["inject", "--image", IMAGE, "--output", "json"], input=APP)
    assert [each["kind"] for each in json.loads(result.stdout)] == [
        "Deployment",
        "CronJob",
        "Service",
        "List",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--config"),
        (["--image", "registry.example/bartizan:latest"], "--image"),
        (["--config", "/no/such/file"], "can't be read"),
        (["--image", IMAGE, "-f", "/no/such/file"], "/no/such/file"),
    ],
)
def test_wrong_arguments_end_with_2_and_say_why(runner: CliRunner, arguments: list[str], said: str) -> None:
    result = runner.invoke(cli, ["inject", *arguments], input=APP)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not result.stdout


def test_a_pod_that_cant_be_guarded_ends_with_2_every_reason_and_no_output(runner: CliRunner) -> None:
    wrong = APP.replace(
        "spec: {containers: [{name: m", "spec: {hostNetwork: true, hostPID: true, containers: [{name: m"
    )
    result = runner.invoke(cli, ["inject", "--image", IMAGE], input=wrong)
    assert result.exit_code == 2
    assert "spec.template.spec.hostNetwork" in result.stderr
    assert "spec.template.spec.hostPID" in result.stderr
    assert not result.stdout


def test_findings_end_with_4_when_one_is_high(runner: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.yaml").write_text(APP)
    (tmp_path / "app" / "notes.txt").write_text("not a manifest: [")
    result = runner.invoke(cli, ["analyze", str(tmp_path / "app"), "--output", "json"])
    assert result.exit_code == 4
    (finding,) = json.loads(result.stdout)
    assert (finding["severity"], finding["code"], finding["object"]) == (
        "high",
        "model_without_sidecar",
        "Deployment chat",
    )
    assert finding["source"].endswith("app.yaml")
    assert finding["path"].startswith("spec.template.")


def test_what_inject_makes_is_clean_for_analyze(runner: CliRunner) -> None:
    made = runner.invoke(cli, ["inject", "--image", IMAGE], input=APP)
    result = runner.invoke(cli, ["analyze", "-"], input=made.stdout)
    assert result.exit_code == 0, result.output
    assert "nothing found" in result.stderr


def test_paths_or_cluster_must_be_given(runner: CliRunner, tmp_path: Path) -> None:
    assert runner.invoke(cli, ["analyze"]).exit_code == 2
    assert runner.invoke(cli, ["analyze", "--cluster", "x.yaml"]).exit_code == 2
    assert runner.invoke(cli, ["analyze", str(tmp_path)]).exit_code == 2
