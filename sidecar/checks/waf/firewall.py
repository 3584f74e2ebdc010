"""Asks libmodsecurity about requests, in a child process (checks/child/process.py). The only adapter to it."""

from __future__ import annotations

import importlib.util

from bartizan.errors import ResourceRejected
from sidecar.checks.child.process import AskedProcess, Kind
from sidecar.checks.waf import ruleset
from sidecar.checks.waf.messages import Answer, Configure, Question

KIND = Kind(
    module="sidecar.checks.waf.child",
    title="the web application firewall",
    name="waf",
    field="spec.waf.crs",
    seconds=1.0,  # Envoy waits two seconds for the guard
    most=4 * 1024 * 1024,
)


def available() -> bool:
    """Whether this installation has the library and rules."""
    return importlib.util.find_spec("libmodsecurity") is not None and ruleset.find() is not None


class Firewall:
    """One set of rules and its child."""

    def __init__(self, paranoia: int) -> None:
        """Raises ResourceRejected when the library or the rules are missing or can't be used."""
        folder = ruleset.find()
        if folder is None:
            message = f"no rules: install Debian's modsecurity-crs or set {ruleset.SETTING}"
            raise ResourceRejected(f"the web application firewall has {message}", KIND.field)
        self._process = AskedProcess(KIND, Configure(folder=str(folder), paranoia=paranoia))
        self._process.start()

    def judge(self, question: Question) -> Answer:
        """Raises ChildFailed when there is no answer in time."""
        return self._process.ask(question, Answer)
