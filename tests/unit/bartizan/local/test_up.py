"""`bartizan up` fills the policy in from the command line and refuses what contradicts, all at once."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bartizan.errors import InvalidInput
from bartizan.local.processes import free_port
from bartizan.local.told import Told, fill_in
from bartizan.local.up import Arguments, listener_is_free, prepare, stack_for
from bartizan.policy.validate import read_policy

POLICY = Path(__file__).resolve().parents[4] / "examples" / "quickstart" / "policy.yaml"


def arguments(**changes: object) -> Arguments:
    given: dict[str, object] = {
        "model": "http://127.0.0.1:8001",
        "policy_file": POLICY,
        "listen": ":8444",
        "cert": None,
        "key": None,
        "state": Path("/nowhere"),
        **changes,
    }
    return Arguments(**given)  # type: ignore[arg-type]


def test_listener_and_model_come_from_the_command_line() -> None:
    spec = prepare(arguments())["spec"]
    assert spec["listener"]["port"] == 8444
    assert spec["model"]["port"] == 8001


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"model": "http://192.0.2.1:8000"}, "--model"),
        ({"model": "https://127.0.0.1:8000"}, "--model"),
        ({"model": "127.0.0.1:8000"}, "--model"),
        ({"listen": "nowhere"}, "--listen"),
        ({"listen": "127.0.0.1:99999"}, "--listen"),
        ({"cert": POLICY}, "--cert"),
        ({"cert": POLICY, "key": Path("/missing.key")}, "--key"),
        ({"policy_file": Path("/missing.yaml")}, "--policy"),
    ],
)
def test_bad_arguments_are_named(changes: dict[str, object], path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        prepare(arguments(**changes))
    assert path in [problem.path for problem in refused.value.problems]


@pytest.mark.parametrize("content", [b"", b"0\x82\x01\x0a\xff", b"certificate"])
def test_a_pair_that_is_no_pem_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tls.crt").write_bytes(content)
    (tmp_path / "tls.key").write_text("-----BEGIN PRIVATE KEY-----\n")
    with pytest.raises(InvalidInput) as refused:
        prepare(arguments(cert=tmp_path / "tls.crt", key=tmp_path / "tls.key"))
    assert [(problem.path, problem.code) for problem in refused.value.problems] == [("--cert", "unusable")]


@pytest.mark.parametrize("given", ["", "many", "\N{SUPERSCRIPT TWO}"])
def test_what_is_no_number_of_workers_is_the_sidecars_to_refuse(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str
) -> None:
    monkeypatch.setenv("BARTIZAN_WORKERS", given)
    house = stack_for(prepare(arguments()), tmp_path)
    assert (house.workers, house.settings) == (1, {"BARTIZAN_WORKERS": given})


def test_settings_of_the_parts_are_taken_from_our_own_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BARTIZAN_WORKERS", "3")
    monkeypatch.setenv("BARTIZAN_CP_AUDIT_DAYS", "400")
    monkeypatch.setenv("BARTIZAN_CP_STATE_DIR", "/elsewhere")  # which is decided here
    house = stack_for(prepare(arguments()), tmp_path)
    assert house.workers == 3
    assert house.settings == {"BARTIZAN_WORKERS": "3", "BARTIZAN_CP_AUDIT_DAYS": "400"}


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InvalidInput) as refused:
        prepare(arguments(model="x", listen="y", cert=POLICY))
    assert {"--model", "--listen", "--cert"} <= {problem.path for problem in refused.value.problems}


def test_a_file_that_contradicts_the_command_line_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY.read_text().replace("protocol: json_fields", "protocol: json_fields, port: 9000"))
    with pytest.raises(InvalidInput) as refused:
        prepare(arguments(policy_file=file))
    assert [(problem.path, problem.code) for problem in refused.value.problems] == [
        ("spec.model.port", "contradiction")
    ]


def test_what_is_wrong_with_the_policy_is_told_beside_what_contradicts(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    text = POLICY.read_text().replace("protocol: json_fields", "protocol: json_fields, port: 9000")
    file.write_text(text.replace("tenants: [team-a]", "tenants: []"))
    lines = {part: n for n, line in enumerate(file.read_text().splitlines(), 1) for part in line.split()}
    with pytest.raises(InvalidInput) as refused:
        prepare(arguments(policy_file=file, model="127.0.0.1:8001"))
    assert [(problem.path, problem.line) for problem in refused.value.problems] == [
        ("--model", 0),
        ("spec.model.port", lines["port:"]),
        ("spec.tenants", lines["tenants:"]),
    ]
    assert "write http://127.0.0.1:8001" in str(refused.value)


def test_the_hint_for_a_bare_port_is_an_address_that_is_taken() -> None:
    with pytest.raises(InvalidInput, match=r"write http://127\.0\.0\.1:8001"):
        prepare(arguments(model="8001"))


def test_the_same_file_applied_later_is_the_same_document(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY.read_text() + "  mode: enforce\n")
    document = prepare(arguments(policy_file=file))
    later = read_policy(file.read_bytes()).document
    fill_in(later, Told(address="0.0.0.0", port=8444, model_port=8001))
    assert later == document


@pytest.mark.parametrize(
    ("bound", "asked", "free"),
    [
        ("127.0.0.1", "127.0.0.1", False),
        ("127.0.0.1", "0.0.0.0", False),
        ("0.0.0.0", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.2", True),
    ],
)
def test_a_port_that_another_program_has_is_known_before_anything_starts(
    bound: str, asked: str, free: bool
) -> None:
    with socket.create_server((bound, 0)) as server:
        assert listener_is_free(asked, server.getsockname()[1]) is free
    assert listener_is_free(asked, free_port())
