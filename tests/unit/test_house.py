"""The rules of the house that no linter knows."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("bartizan", "sidecar", "control_plane", "protos", "examples", "benchmarks", "tests")
SOURCES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if "gen" not in path.relative_to(ROOT).parts[:2]
)
PRODUCT = [path for path in SOURCES if path.relative_to(ROOT).parts[0] not in {"tests", "benchmarks"}]


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_no_product_file_is_longer_than_300_lines() -> None:
    long = {
        name: lines for name in names(PRODUCT) if (lines := len((ROOT / name).read_text().splitlines())) > 300
    }
    assert not long


def test_every_product_module_says_what_it_is() -> None:
    silent = [
        name
        for name in names(PRODUCT)
        if (text := (ROOT / name).read_text()).strip() and ast.get_docstring(ast.parse(text)) is None
    ]
    assert not silent


def test_no_module_has_a_name_that_says_nothing() -> None:
    banned = {"utils", "util", "helpers", "helper", "manager", "misc", "common"}
    assert not [path for path in PRODUCT if path.stem in banned]


def test_every_metric_is_documented_and_every_documented_metric_exists() -> None:
    code = set(re.findall(r'"(bartizan_[a-z_]+)"', (ROOT / "bartizan/telemetry/metrics.py").read_text()))
    documented = set(re.findall(r"`(bartizan_[a-z_]+)`", (ROOT / "docs/telemetry.md").read_text()))
    assert code == documented


@pytest.mark.parametrize(
    "document",
    ["docs/architecture.md", "CONTRIBUTING.md", "README.md", "docs/operations.md", "docs/kubernetes.md"],
)
def test_every_file_that_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    named = set(
        re.findall(r"`((?:bartizan|sidecar|control_plane|protos|examples|tests|docs|deploy)/[\w./-]+)`", text)
    )
    assert named
    missing = {name for name in named if "<" not in name and not (ROOT / name).exists()}
    assert not {name for name in missing if not name.startswith("protos/gen")}


def test_nothing_is_raised_inside_an_except_star_block() -> None:
    """Up to Python 3.11.3 what is raised there comes out in a group of its own, which nobody above expects."""
    raising = [
        f"{name}:{raised.lineno}"
        for name in names(PRODUCT)
        for block in ast.walk(ast.parse((ROOT / name).read_text()))
        if isinstance(block, ast.TryStar)
        for handler in block.handlers
        for raised in ast.walk(handler)
        if isinstance(raised, ast.Raise)
    ]
    assert not raising


_ESCAPED = re.compile(r"\\.", re.DOTALL)
_CLASS = re.compile(r"\[\^?\]?[^\]]*\]")
_POSSESSIVE_GROUP = re.compile(r"\(\?>|\)(?:[*+?]|\{[0-9,]+\})\+")


def _has_possessive_group(pattern: str) -> bool:
    return bool(_POSSESSIVE_GROUP.search(_CLASS.sub("c", _ESCAPED.sub("e", pattern))))


def _texts(tree: ast.AST) -> list[str]:
    """Of formatted ones what stands between the braces."""
    constants = [
        node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    ]
    return constants + [
        "".join(str(part.value) if isinstance(part, ast.Constant) else "f" for part in node.values)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
    ]


def test_no_expression_has_a_possessive_or_atomic_group() -> None:
    """Up to Python 3.11.4, of which Debian 12 ships one, such a group gives wrong answers or never ends
    (https://github.com/python/cpython/issues/106052). Of one character or class, as in `[a-z]++`, it is right.
    """
    unsafe = [
        f"{name}: {text}"
        for name in names(PRODUCT)
        for text in _texts(ast.parse((ROOT / name).read_text()))
        if _has_possessive_group(text)
    ]
    assert not unsafe


@pytest.mark.parametrize(
    ("pattern", "has"),
    [
        (r"(?:ab)*+", True),
        (r"0++(?:[^0]{1,3}0++)*+", True),
        (r"(a){2,}+", True),
        (r"(?>a)", True),
        (r"[)]++", False),
        (r"\)++", False),
        (r"[^]a)]*+(b)+", False),
    ],
)
def test_a_possessive_group_is_told_from_a_class(pattern: str, has: bool) -> None:
    assert _has_possessive_group(pattern) is has


def test_groups_and_timeouts_are_those_of_bartizan_tasks() -> None:
    """asyncio's own lose cancellations or make them up, depending on the release of Python."""
    own = re.compile(r"asyncio\.(TaskGroup\(\)|timeout\(|timeout_at\()")
    assert not [
        name
        for name in names(PRODUCT)
        if name != "bartizan/tasks.py" and own.search((ROOT / name).read_text())
    ]
