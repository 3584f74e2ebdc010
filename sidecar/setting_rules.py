"""Which of the agent's settings need each other, and how a wrong one is named. Pure; used by settings.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bartizan.errors import Problem

if TYPE_CHECKING:
    from sidecar.settings import Settings

PREFIX = "BARTIZAN_"
OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"


def combinations(made: Settings) -> list[Problem]:
    if made.bundle_file is not None:
        if made.trust_file is None:
            return [
                problem("TRUST_FILE", "missing", "BARTIZAN_BUNDLE_FILE needs keys to verify with", "name one")
            ]
        return []
    if made.kubernetes_token_file is not None:
        return _in_kubernetes(made)
    if made.join_token_file is None and made.seal_key_file is None:
        return [
            problem(
                "JOIN_TOKEN_FILE",
                "missing",
                "nothing says where the control plane is or who this sidecar is",
                "name the file of a join token (bartizan join-token), BARTIZAN_KUBERNETES_TOKEN_FILE in a pod, "
                "or BARTIZAN_BUNDLE_FILE for local mode",
            )
        ]
    return []


def _in_kubernetes(made: Settings) -> list[Problem]:
    """A join token names addresses and trust; a pod's token names neither."""
    problems = []
    if made.join_token_file is not None:
        problems.append(
            problem("JOIN_TOKEN_FILE", "conflict", "there is a pod's token too", "name only one of them")
        )
    needed = (
        ("TRUST_FILE", made.trust_file, "mount the trust document (bartizan trust)"),
        ("CONTROL_PLANE", made.control_plane, "name HOST:PORT of the control plane's mTLS port"),
        ("ATTEST", made.attest, "name HOST:PORT of the control plane's attestation port"),
    )
    for name, value, hint in needed:
        if not value:
            problems.append(problem(name, "missing", "a pod's token does not say it", hint))
    return problems


def variable_of(name: str) -> str:
    return OTLP if name == "OTLP_ENDPOINT" else PREFIX + name


def problem(name: str, code: str, message: str, hint: str) -> Problem:
    return Problem(path=variable_of(name), code=code, message=message, hint=hint)
