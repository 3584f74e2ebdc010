"""What the documents list is compared with the code, so that neither runs away from the other."""

import dataclasses
import importlib.util
import re
import tomllib
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest

from bartizan.cli.causes import CAUSES
from bartizan.errors import InvalidInput
from bartizan.local.up import PASSED_ON
from bartizan.policy.checks import PiiType
from control_plane import settings as control_plane_settings
from control_plane.api.ports import Parts
from control_plane.api.routes.catalog import operations
from sidecar import settings as sidecar_settings
from sidecar.agent import conditions
from sidecar.audit.access_log import NATIVE_CAUSES
from sidecar.checks.detectors import secrets
from sidecar.model.decision import STATUS, Cause

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("docs/**/*.md")),
]


class Asked(Mapping[str, str]):
    """An environment with nothing in it that remembers what it was asked for."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        if name.startswith(("BARTIZAN_", "OTEL_")):
            self.names.add(name)
        return self._given[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)


def section(title: str) -> str:
    return (ROOT / "docs/settings.md").read_text().split(f"## {title}\n")[1].split("\n## ")[0]


def documented_settings(title: str) -> list[str]:
    return re.findall(r"^\| `([A-Z_]+)` \|", section(title), re.MULTILINE)


def test_every_setting_of_the_control_plane_is_documented_once() -> None:
    asked = Asked({})
    with pytest.raises(InvalidInput):
        control_plane_settings.read(asked)
    assert sorted(documented_settings("Control plane")) == sorted(asked.names)


def test_what_up_hands_on_is_documented_and_is_a_setting() -> None:
    told = section("Command line").split("`bartizan up` hands on")[1].partition("\n\n")[0]
    names = set(re.findall(r"`((?:BARTIZAN|OTEL)_[A-Z_]+)`", told))
    assert names == {"OTEL_EXPORTER_OTLP_ENDPOINT", *PASSED_ON}
    assert names <= {*documented_settings("Control plane"), *documented_settings("Sidecar")}


def test_every_setting_of_the_sidecar_is_documented_once(tmp_path: Path) -> None:
    asked = Asked({"BARTIZAN_CONFIG": str(tmp_path / "none.yaml")})
    with pytest.raises(InvalidInput):
        sidecar_settings.load(asked)
    assert sorted(documented_settings("Sidecar")) == sorted(asked.names)


def test_every_extra_is_documented() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = re.findall(r"^\| `([a-z]+)` \|", section("Extras"), re.MULTILINE)
    assert sorted(listed) == sorted(project["optional-dependencies"])


def test_every_condition_of_a_sidecar_is_in_the_runbook_with_its_effect_on_readiness() -> None:
    known = {
        value
        for name, value in vars(conditions).items()
        if name.isupper() and isinstance(value, str) and not name.startswith("_")
    }
    rows = dict(
        re.findall(r"^\| `([a-z_]+)` \| (no|yes) \|", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    )
    assert set(rows) == known
    assert {name for name, ready in rows.items() if ready == "no"} == conditions.BLOCKING


def test_every_route_of_the_api_is_in_its_guide_with_the_permission_it_asks_for() -> None:
    parts: Any = {field.name: None for field in dataclasses.fields(Parts)}
    parts["policies"] = types.SimpleNamespace(meshes=None)  # handlers are named here, not called
    known = {
        f"{one.method} {one.path}": one.permission.value if one.permission else "none"
        for one in operations(Parts(**parts))
    }
    rows = re.findall(
        r"^\| `([A-Z]+ /[^`]+)` \|[^|]+\| (\w+) \|$", (ROOT / "docs/api.md").read_text(), re.MULTILINE
    )
    assert dict(rows) == known
    assert len(rows) == len(known)


def test_every_cause_is_documented_with_the_status_that_the_client_gets_and_can_be_explained() -> None:
    page = (ROOT / "docs/telemetry.md").read_text().split("### Causes\n")[1].split("\n### ")[0]
    rows = [
        (re.findall(r"`([a-z_]+)`", names), re.findall(r"\d{3}", statuses))
        for names, statuses in re.findall(r"^\| (`[^|]+) \| ([^|]+) \|", page, re.MULTILINE)
    ]
    documented = [name for names, _ in rows for name in names]
    envoys = {*NATIVE_CAUSES, "allowed", "model_error"}
    assert sorted(documented) == sorted({*Cause, *envoys})
    assert sorted(CAUSES) == sorted(documented)
    for names, statuses in rows:
        told = {
            str(STATUS[Cause(name)])
            for name in names
            if name in {*Cause} - {Cause.ALLOWED, Cause.MODEL_ERROR}
        }
        assert told <= set(statuses), names


def test_every_direct_dependency_is_listed_with_the_licence_that_it_states() -> None:
    place = ROOT / "requirements/licences.py"
    spec = importlib.util.spec_from_file_location("licences", place)
    assert spec is not None
    assert spec.loader is not None
    licences = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(licences)
    assert (ROOT / "docs/third-party-licences.md").read_text() == licences.page(), (
        "run: python requirements/licences.py > docs/third-party-licences.md"
    )


def test_every_kind_of_personal_data_and_of_secrets_is_documented() -> None:
    page = (ROOT / "docs/detectors.md").read_text()
    named = set(re.findall(r"`([a-z0-9_]+)`", page))
    assert set(get_args(PiiType)) <= named
    listed = set(re.findall(r"`([a-z0-9_]+)`", page.split("Kinds in findings: ")[1]))
    assert listed == {rule.kind for rule in secrets.RULES} | {"private_key"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_the_first_page_leads_to_every_other_one() -> None:
    links = set(re.findall(r"\]\((docs/[a-z-]+\.md)\)", (ROOT / "README.md").read_text()))
    assert links == {str(page.relative_to(ROOT)) for page in ROOT.glob("docs/*.md")}


def anchors(page: Path) -> set[str]:
    """Headings as GitHub makes anchors of them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
