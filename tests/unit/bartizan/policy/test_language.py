"""The language as a whole: examples validate, documents survive a round trip, schema and reference are complete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from bartizan.policy import defaults
from bartizan.policy.authored import dump_policy
from bartizan.policy.checks import CheckConfig
from bartizan.policy.descriptions import FIELDS
from bartizan.policy.jsonschema import CLAIM_TARGETS, mesh_json_schema, policy_json_schema
from bartizan.policy.planned import FIELDS as PLANNED_FIELDS
from bartizan.policy.planned import VALUES as PLANNED_VALUES
from bartizan.policy.reference import CODES, reference
from bartizan.policy.schema import Credential, Jwt, Listener, Metadata, Model, RequestLimit, Route
from bartizan.policy.structure import PATTERNS
from bartizan.policy.validate import parse_policy, validate_document

ROOT = Path(__file__).parents[4]
EXAMPLES = sorted((ROOT / "examples" / "policies").glob("*.yaml"))


def test_there_are_examples_for_every_protocol() -> None:
    protocols = {parse_policy(path.read_bytes()).spec.model.protocol for path in EXAMPLES}
    assert protocols == {"openai", "json_fields", "opaque"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_validates_says_what_it_does_and_survives_a_round_trip(path: Path) -> None:
    text = path.read_text()
    policy = parse_policy(text)
    assert text.startswith("# ")
    assert validate_document(dump_policy(policy)) == policy
    assert parse_policy(yaml.safe_dump(dump_policy(policy))) == policy


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_satisfies_the_schema_for_editors(path: Path) -> None:
    Draft202012Validator(policy_json_schema()).validate(yaml.safe_load(path.read_text()))


_NAME = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?", fullmatch=True)
_WORD = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
_ACTION = st.sampled_from(["deny", "redact", "flag"])


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def _subset(*values: str, least: int = 0) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), unique=True, min_size=least)


_INPUT = st.fixed_dictionaries(
    {},
    optional={
        "sanitize": st.none()
        | _some(
            unicode=st.sampled_from(["nfkc", "nfc", "none"]),
            strip=_subset("zero-width", "bidi", "tags", "control"),
        ),
        "promptInjection": _some(
            action=st.sampled_from(["deny", "flag"]), model=st.sampled_from(["default", "off"])
        ),
        "secrets": st.none() | _some(action=_ACTION),
        "pii": _some(types=_subset("email", "phone", "iban", "card", least=1), action=_ACTION),
    },
)
_OUTPUT = st.fixed_dictionaries(
    {},
    optional={
        "pii": st.none() | _some(action=_ACTION),
        "canary": st.fixed_dictionaries(
            {"tokens": st.lists(st.from_regex(r"[a-z0-9-]{8,20}", fullmatch=True), unique=True, min_size=1)}
        ),
        "probabilities": _some(decimals=st.integers(0, 6)),
    },
)


@st.composite
def _documents(draw: st.DrawFn) -> dict[str, Any]:
    limits = draw(st.lists(st.sampled_from(["key", "tenant", "sidecar"]), unique=True))
    spec = {
        "selector": {"matchLabels": draw(st.dictionaries(_WORD, _WORD, min_size=1, max_size=3))},
        "listener": draw(
            st.fixed_dictionaries(
                {"tls": st.just("none") | st.just({"cert": "file:a.crt", "key": "file:a.key"})},
                optional={"port": st.integers(9000, 9999), "address": st.sampled_from(["127.0.0.1", "::"])},
            )
        ),
        "model": draw(
            st.fixed_dictionaries(
                {"name": _WORD, "protocol": st.just("json_fields")},
                optional={
                    "labels": st.dictionaries(_WORD, _WORD, max_size=2),
                    "credential": st.fixed_dictionaries(
                        {"secret": _NAME}, optional={"prefix": st.just("Bearer ")}
                    ),
                },
            )
        ),
        "routes": [{"path": "/p", "inputText": ["$.a"], "outputText": ["$.b[*]"], "outputScores": ["$.c"]}],
        "tenants": draw(st.lists(_WORD, unique=True, min_size=1, max_size=3)),
        "authn": {"apiKeys": {"set": draw(_NAME)}},
        "authz": [
            {"name": n, "allow": "identity.plan != ''"}
            for n in draw(st.lists(_NAME, unique=True, max_size=3))
        ],
        "limits": {"requests": [{"per": per, "rate": f"{draw(st.integers(1, 99))}/s"} for per in limits]},
        "input": sorted(
            ({name: config} for name, config in draw(_INPUT).items()), key=lambda one: "sanitize" not in one
        ),
        "output": [{name: config} for name, config in draw(_OUTPUT).items()],
    }
    spec |= draw(_some(mode=st.sampled_from(["enforce", "shadow"]), telemetry=st.just({"traceSample": 1})))
    return {
        "apiVersion": "bartizan.dev/v1alpha1",
        "kind": "ModelPolicy",
        "metadata": {"name": draw(_NAME)},
        "spec": spec,
    }


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_documents())
def test_a_policy_survives_being_dumped_and_read_again(document: dict[str, Any]) -> None:
    policy = validate_document(document)
    dumped = dump_policy(policy)
    assert validate_document(dumped) == policy
    assert dump_policy(validate_document(dumped)) == dumped
    assert [list(check) for check in dumped["spec"].get("input", [])] == [
        list(c) for c in document["spec"]["input"]
    ]


def test_reading_a_document_does_not_change_it() -> None:
    document = yaml.safe_load(EXAMPLES[0].read_text())
    before = msgspec.json.encode(document)
    validate_document(document)
    assert msgspec.json.encode(document) == before


def _definitions() -> Iterator[tuple[str, dict[str, Any]]]:
    yield from {**mesh_json_schema()["$defs"], **policy_json_schema()["$defs"]}.items()


def test_the_schema_is_a_valid_schema() -> None:
    for schema in (policy_json_schema(), mesh_json_schema()):
        Draft202012Validator.check_schema(schema)


def test_every_field_has_a_description_and_none_is_left_over() -> None:
    assert {f"{name}.{field}" for name, d in _definitions() for field in d["properties"]} == set(FIELDS)


def test_every_pattern_is_explained_to_authors() -> None:
    used = set(re.findall(rb'"pattern":("(?:[^"\\]|\\.)*")', msgspec.json.encode(policy_json_schema())))
    assert {msgspec.json.decode(pattern) for pattern in used} == set(PATTERNS)


def test_editors_see_checks_as_authors_write_them() -> None:
    spec = policy_json_schema()["$defs"]["ModelPolicySpec"]["properties"]
    names = {
        "sanitize",
        "markup",
        "promptInjection",
        "secrets",
        "pii",
        "parameters",
        "image",
        "extractionWatch",
    }
    assert set(spec["input"]["items"]["properties"]) == names
    assert not any("check" in definition["properties"] for _, definition in _definitions())


def test_claims_are_those_of_the_language() -> None:
    declared = msgspec.json.schema(Jwt)["$defs"]["Jwt"]["properties"]["claims"]
    assert declared["type"] == "object"
    for target in CLAIM_TARGETS:
        jwt = {"issuer": "https://a", "audiences": ["b"], "claims": {target: "c"}}
        assert msgspec.convert(jwt, Jwt).claims == {target: "c"}


def test_no_planned_field_is_also_accepted() -> None:
    accepted = {field for name, d in _definitions() if name == "ModelPolicySpec" for field in d["properties"]}
    top = {path.split(".")[1] for path in PLANNED_FIELDS if path.count(".") == 1 and path.startswith("spec.")}
    assert not top & accepted
    enums = re.findall(r'"enum":\[([^\]]*)', msgspec.json.encode(policy_json_schema()).decode())
    for values in PLANNED_VALUES.values():
        assert not [value for value in values if any(f'"{value}"' in enum for enum in enums)]


def test_every_check_has_its_own_tag() -> None:
    kinds = CheckConfig.__subclasses__()
    assert len({kind.__struct_config__.tag for kind in kinds}) == len(kinds)


def test_named_defaults_are_those_of_the_types() -> None:
    minimal = {"tls": "none"}
    listener = msgspec.convert(minimal, Listener)
    assert (listener.address, listener.port) == (defaults.LISTENER_ADDRESS, defaults.LISTENER_PORT)
    assert Metadata(name="a").namespace == defaults.NAMESPACE
    assert Model(name="a", protocol="openai").port == defaults.MODEL_PORT
    assert Credential(secret="a").header == defaults.CREDENTIAL_HEADER
    assert Route(path="/").method == defaults.ROUTE_METHOD
    assert defaults.BODY_MAX_BYTES == 1_048_576


@pytest.mark.parametrize(
    ("rate", "written", "size"), [("50/s", None, 50), ("100/m", None, 100), ("5/s", 9, 9)]
)
def test_a_burst_is_the_number_of_the_rate_unless_written(rate: str, written: int | None, size: int) -> None:
    limit = RequestLimit(per="key", rate=rate, burst=msgspec.UNSET if written is None else written)
    assert defaults.burst(limit) == size


def test_the_reference_is_up_to_date() -> None:
    page = (ROOT / "docs" / "policy-reference.md").read_text()
    assert page == reference(), "run: python -m bartizan.policy.reference > docs/policy-reference.md"


def test_the_reference_knows_every_code() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "bartizan" / "policy").glob("*.py"))
    used = set(re.findall(r'code="([a-z_]+)"', sources)) | set(
        re.findall(r'_unreadable\("([a-z_]+)"', sources)
    )
    used |= set(re.findall(r'_problem\(\s*path, "([a-z_]+)"', sources))
    assert used == set(CODES)
