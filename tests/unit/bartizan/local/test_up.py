"""`bartizan up` fills the policy in from the command line and refuses what contradicts, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from bartizan.errors import InvalidInput
from bartizan.local.up import Arguments, prepare

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
