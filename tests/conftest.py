"""Shared by all tests: the golden folders' fixture and its option --update-golden."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from _pytest.nodeid import NodeId
from hypothesis import HealthCheck, settings

from tests.skips import register

GOLDEN = Path(__file__).parent / "golden"
UNIT = Path(__file__).parent / "unit"

# How long an example takes says how busy the machine is. CI tries the same ones every time; new ones are searched for
# where somebody is there to read what was found.
settings.register_profile(
    "tests",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("CI") == "true",
)
settings.load_profile("tests")

Compare = Callable[[str, str], None]


def pytest_configure(config: pytest.Config) -> None:
    register(config)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Make xdist_group work: pytest-xdist 3.8 writes a group into `_nodeid`, where pytest 9.2 no longer reads it.

    It hands out groups by their number of tests, and single tests in this order.
    """
    for item in items:
        grouped = vars(item).get("_nodeid")
        if grouped:
            item._id = NodeId.parse(grouped)
    # What starts servers comes first: the short ones fill all workers to the end.
    items.sort(key=lambda item: UNIT in item.path.parents)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """What is imported and collected stays to the end: no garbage collection need walk through it, now or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write golden files anew instead of comparing with them"
    )


@pytest.fixture(scope="session")
def golden_root() -> Path:
    """tests/golden: <area>/<case>/<file>."""
    return GOLDEN


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest) -> Compare:
    """golden("<area>/<case>/<file>", text) fails when the file holds another text (or, told so, writes it)."""
    update: bool = request.config.getoption("--update-golden")

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            return
        assert path.exists(), f"{name} is missing: run pytest --update-golden and look at the difference"
        assert text == path.read_text(), (
            f"{name} differs: run pytest --update-golden and look at the difference"
        )

    return compare
