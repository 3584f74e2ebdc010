"""What one exchange leaves behind: findings, times, how many bytes were looked at, and why not all of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import msgspec

from sidecar.checks.pipeline import Mark
from sidecar.model.decision import Cause, Decision, allow
from sidecar.model.finding import Action, Direction, Finding
from sidecar.plan.judge import ERROR_REPLACED, Judgement


@dataclass(slots=True)
class Trail:
    """Grows during an exchange; becomes its audit record, metrics and spans."""

    marks: list[Mark] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    unscanned: list[str] = field(default_factory=list)
    request_bytes: int = 0
    request_scanned: int = 0
    response_bytes: int = 0
    response_scanned: int = 0

    def learn(self, judged: Judgement, direction: Direction) -> None:
        """Keep what a judgement of one body saw."""
        for mark in judged.marks:
            self.mark(*mark)
        self.find(judged.findings, direction)
        self.leave_unscanned(*judged.unscanned)

    def find(self, findings: tuple[Finding, ...], direction: Direction) -> None:
        self.findings += [replace(finding, direction=direction) for finding in findings]

    def leave_unscanned(self, *reasons: str) -> None:
        """Say why something was not looked at."""
        self.unscanned += [reason for reason in reasons if reason not in self.unscanned]

    def mark(self, phase: str, start: int, end: int) -> None:
        """One span for all pieces of a stream, not one for each."""
        marks = self.marks
        if marks and marks[-1][0] == phase:
            marks[-1] = (phase, marks[-1][1], end)
        else:
            marks.append((phase, start, end))

    @property
    def passed(self) -> Decision:
        """Where nothing was refused or cut."""
        made = allow(findings=tuple(self.findings))
        if any(finding.check == ERROR_REPLACED.check for finding in self.findings):
            return msgspec.structs.replace(made, cause=Cause.MODEL_ERROR)
        return made

    @property
    def strongest(self) -> Action:
        return max((finding.action for finding in self.findings), default=Action.ALLOW)
