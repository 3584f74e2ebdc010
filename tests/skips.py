"""With CI=true a skipped test whose reason is not listed in tests/allowed_skips.txt fails the run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

LISTED = Path(__file__).parent / "allowed_skips.txt"


class SkipJudge:
    """Runs in the controller only: workers' reports arrive there."""

    def __init__(self) -> None:
        lines = [
            line for line in LISTED.read_text().splitlines() if line.strip() and not line.startswith("#")
        ]
        self._allowed = [line.split(" | ", 1)[0].strip() for line in lines]
        self._refused: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._judge(report.nodeid, report.longrepr)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._judge(report.nodeid, report.longrepr)

    def _judge(self, node: str, reason: object) -> None:
        if not any(allowed in node for allowed in self._allowed):
            said = reason[2] if isinstance(reason, tuple) else reason
            self._refused.append(f"{node}: {said}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._refused:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self._refused:
            terminalreporter.write_line(f"skipped without being listed in {LISTED.name}: {line}", red=True)


def register(config: pytest.Config) -> None:
    """Called by conftest.py."""
    if os.environ.get("CI") == "true" and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SkipJudge(), "skip-judge")
