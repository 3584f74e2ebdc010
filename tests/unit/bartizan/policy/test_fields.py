"""What may be written where: every field of the schema is found by its path, as problems and people name it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from bartizan.cli.root import cli
from bartizan.errors import NotFound
from bartizan.policy.fields import Fields

OPEN = (".claims", ".context")
"""Mappings whose own meaning says that of each name in them."""


@pytest.mark.parametrize("kind", ["ModelPolicy", "MeshPolicy"])
def test_every_field_is_found_by_its_path_and_says_what_it_means(kind: str) -> None:
    known = Fields(kind)
    top, _ = known.at("")
    everything = list(known.under(top))
    assert len(everything) > 150
    for field in everything:
        found, below = known.at(field.path)
        assert found == field
        assert bool(below) is field.below
        assert field.type
        assert field.meaning or field.path.rpartition(".")[0].endswith(OPEN), field.path


@pytest.mark.parametrize(
    ("asked", "path", "kind", "default"),
    [
        ("spec.listener.port", "spec.listener.port", "integer from 1 to 65535", "8443"),
        ("listener.port", "spec.listener.port", "integer from 1 to 65535", "8443"),
        (
            "spec.limits.requests[0].rate",
            "spec.limits.requests[].rate",
            "a whole number per s, m or h, such as 50/s",
            "",
        ),
        ("spec.input[2].pii.action", "spec.input[].pii.action", "deny, flag, redact", "redact"),
        ("spec.routes[*].method", "spec.routes[].method", "DELETE, GET, POST, PUT", "POST"),
        (
            "spec.listener.tls.cert",
            "spec.listener.tls.cert",
            "file:NAME, a plain file name in the sidecar's certificate folder",
            "",
        ),
        ("authn.jwt.claims.tenant", "spec.authn.jwt[].claims.tenant", "text", ""),
    ],
)
def test_a_field_has_its_type_and_default(asked: str, path: str, kind: str, default: str) -> None:
    field, _ = Fields().at(asked)
    assert (field.path, field.type, field.default) == (path, kind, default)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("spec.limit", "did you mean limits?"),
        ("spec.quota", "planned"),
        ("limits.tokens", "planned"),
        ("spec.listener.port.x", "there are: none"),
        ("spec.input.ssn", "no field ssn in spec.input"),
        ("x", "there are: apiVersion, kind, metadata, spec"),
    ],
)
def test_what_is_no_field_is_told_with_what_there_is(asked: str, said: str) -> None:
    with pytest.raises(NotFound, match=said.replace("?", r"\?")):
        Fields().at(asked)


def test_the_command_shows_a_table_or_json() -> None:
    shown = CliRunner().invoke(cli, ["policy", "fields", "spec.limits"])
    assert (shown.exit_code, "How much one caller may ask for." in shown.stdout) == (0, True)
    assert "requests" in shown.stdout
    told = json.loads(
        CliRunner().invoke(cli, ["policy", "fields", "limits", "--all", "--output", "json"]).stdout
    )
    assert [each["path"] for each in told["fields"]] == [
        "spec.limits.requests",
        "spec.limits.requests[].per",
        "spec.limits.requests[].rate",
        "spec.limits.requests[].burst",
        "spec.limits.body",
        "spec.limits.body.max",
        "spec.limits.body.jsonDepth",
    ]
    assert CliRunner().invoke(cli, ["policy", "fields", "spec.x"]).exit_code == 3
