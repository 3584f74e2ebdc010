"""Texts of a streamed answer that validators must see complete: kept until they end, then let go or not at all.

Beside the pipes of sidecar/checks/stream.py. Where validators only flag, and in shadow mode, texts flow and a copy is
judged. At most MAX_KEPT characters are kept for one answer; more counts as a finding.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sidecar.checks.base import WholeCheck
from sidecar.formats.base import TextPart
from sidecar.model.finding import Action, Finding

MAX_KEPT = 1024 * 1024
"""L of all kept texts together."""


class KeptTexts:
    """Those of one answer."""

    def __init__(self, checks: Sequence[WholeCheck], *, shadow: bool) -> None:
        self._checks = checks
        self._shadow = shadow
        self._texts: dict[str, str] = {}
        self._held: dict[str, None] = {}
        self._left = MAX_KEPT
        self.findings: list[Finding] = []
        """New ones: whoever takes them clears them."""

    def reads(self, location: str) -> bool:
        for check in self._checks:  # noqa: SIM110 - for each piece, mostly of none: a loop costs a third of any()
            if check.reads(location):
                return True
        return False

    def take(self, location: str, text: str) -> str:
        """What of this piece may flow now: nothing of a text that must be complete."""
        self._left -= len(text)
        if self._left < 0:
            self.findings += [
                Finding(check=check.name, kind="too_long", action=check.action, location=location)
                for check in self._checks
                if check.reads(location)
            ]
            return text
        self._texts[location] = self._texts.get(location, "") + text
        if any(check.holds(location) and self._blocks(check) for check in self._checks):
            self._held[location] = None
            return ""
        return text

    def see(self, objects: Sequence[TextPart]) -> None:
        """Objects that are whole in their event: judged with what belongs to them, never held."""
        for part in objects:
            if self.reads(part.location):
                self.take(part.location, part.text)
                self._held.pop(part.location, None)

    def end(self, prefixes: Collection[str], tails: Mapping[str, str], *, every: bool) -> dict[str, str]:
        """Judge what ends with these prefixes; `tails` came last on each. Gives the held texts, complete.

        A text that ends alone, such as a tool's name, stays for the judgement of those that belong to it.
        """
        alone = self._texts.keys() & set(prefixes)
        for location in alone:
            self._texts[location] += tails.get(location, "")
            for check in self._checks:
                if check.reads(location):
                    self.findings += check.judge({location: self._texts[location]}, complete=False)
        beginnings = tuple(prefix for prefix in prefixes if prefix not in self._texts)
        ended = [at for at in self._texts if every or at.startswith(beginnings)]
        whole = {at: self._texts.pop(at) + ("" if at in alone else tails.get(at, "")) for at in ended}
        self._left += sum(map(len, whole.values()))
        for check in self._checks:
            read = {at: text for at, text in whole.items() if check.reads(at)}
            self.findings += check.judge(read, complete=True) if read else ()
        return {at: text for at, text in whole.items() if self._held.pop(at, self) is None}

    def _blocks(self, check: WholeCheck) -> bool:
        return not self._shadow and check.action > Action.FLAG
