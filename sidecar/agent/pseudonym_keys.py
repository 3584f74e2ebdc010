"""The keys with which workers make pseudonyms: files in the certificate folder, named by policies, read again on change.

A key never travels with a policy. What is pseudonymous at several sidecars alike has the same file in all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bartizan.errors import ResourceRejected
from bartizan.policy.bundle import GuardPlan
from bartizan.policy.checks import Pii
from bartizan.telemetry.logging import get_logger
from sidecar.agent.files import read_file
from sidecar.agent.workers import WorkerPool

LEAST_BYTES = 32
"""As many as HMAC-SHA256 gives out: fewer could be guessed (RFC 2104, section 3)."""

log = get_logger()


class PseudonymKeys:
    """Those of the plans that workers hold, by name: one in force, one that drains, one that is being switched to.

    A key that no such plan names is forgotten. A policy that comes back has its key read again, and is refused without.
    """

    def __init__(self, folder: Path, workers: WorkerPool) -> None:
        self._folder = folder
        self._workers = workers
        self._held: dict[str, bytes] = {}
        self._refused: set[str] = set()

    def want(self, plan: GuardPlan) -> None:
        """Read what a plan names, before workers load it. Raises ResourceRejected with the path of the field."""
        found = {name: _read(self._folder, name, path) for name, path in _named(plan)}
        if found:
            self._hold(self._held | found)

    def renew(self) -> None:
        """Read the files again; one that can't be used any more is reported, and the old key stays. Not while a switch
        is under way: its plan may not be with the workers yet.
        """
        named = {name for plan in self._workers.plans for name, _ in _named(plan)}
        if not self._held.keys() <= named:
            self._hold({name: key for name, key in self._held.items() if name in named})
            self._refused &= named
        for name, key in list(self._held.items()):
            try:
                newest = _read(self._folder, name, "")
            except ResourceRejected as error:
                if name not in self._refused:
                    log.warning("pseudonym_key_refused", file=name, reason=error.reason)
                self._refused.add(name)
                continue
            self._refused.discard(name)
            if newest != key:
                self._hold({**self._held, name: newest})
                log.info("pseudonym_key_renewed", file=name)

    def _hold(self, keys: dict[str, bytes]) -> None:
        self._held = keys
        self._workers.set_pseudonym_keys(self._held)


def _named(plan: GuardPlan) -> Iterator[tuple[str, str]]:
    """Each key's name, and the path of the field that has it."""
    for side, checks in (("input", plan.input), ("output", plan.output)):
        for number, check in enumerate(checks):
            if isinstance(check, Pii) and check.key_name:
                yield check.key_name, f"spec.{side}[{number}].pii.key"


def _read(folder: Path, name: str, path: str) -> bytes:
    key = read_file(folder, name, path)
    if len(key) < LEAST_BYTES:
        raise ResourceRejected("pseudonym_key_too_short", path)
    return key
