"""What `bartizan up` was told of listener and model, and what of it a policy file leaves open.

The same file is given to `up` at the start and to `bartizan policy apply` later: both fill in what it does not say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bartizan.errors import PolicyInvalid, Problem
from bartizan.local.up_state import UpState
from bartizan.policy.documents import dump_document
from bartizan.policy.validate import read_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Where clients connect, and the model's port on loopback."""

    address: str
    port: int
    model_port: int

    def values(self) -> dict[tuple[str, str], Any]:
        """By part and field of the policy's spec."""
        return {
            ("listener", "address"): self.address,
            ("listener", "port"): self.port,
            ("listener", "tls"): {"cert": "file:tls.crt", "key": "file:tls.key"},
            ("model", "port"): self.model_port,
        }


def told_to(running: UpState) -> Told:
    """What a running stack was started with."""
    listen, model = urlsplit(running.listen), urlsplit(running.model)
    return Told(
        address=listen.hostname or "0.0.0.0",
        port=listen.port or 443,
        model_port=model.port or 80,
    )


def as_told(text: str, running: UpState) -> tuple[str, list[str]]:
    """The text of the running stack's policy with what it leaves open, and the paths of that.

    Any other text stays as it is: wrong ones are for the control plane to judge.
    """
    try:
        written = read_policy(text)
    except PolicyInvalid:
        return text, []
    if written.problems or written.is_mesh or written.qualified_name != running.policy:
        return text, []
    filled = fill_in(written.document, told_to(running))
    return (dump_document(written.document), filled) if filled else (text, [])


def fill_in(document: object, told: Told) -> list[str]:
    """Write into a decoded document what it leaves open; returns the paths. What is no policy stays as it is."""
    return [f"spec.{part}.{name}" for part, name in _open(document, told)]


def contradictions(document: object, told: Told) -> Iterator[Problem]:
    """Where a document says something else than the command line."""
    for part, name, holder in _holders(document, told):
        wanted = told.values()[part, name]
        if name in holder and holder[name] != wanted:
            hint = "remove it from the file, or give the same value on the command line"
            if name == "tls":
                hint = "remove it from the file: `up` serves the pair of --cert and --key, or one of its own"
            yield Problem(
                path=f"spec.{part}.{name}",
                code="contradiction",
                message=f"the file says {_shown(holder[name])}, the command line says {_shown(wanted)}",
                hint=hint,
            )


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)


def _open(document: object, told: Told) -> Iterator[tuple[str, str]]:
    for part, name, holder in _holders(document, told):
        if name not in holder:
            holder[name] = told.values()[part, name]
            yield part, name


def _holders(document: object, told: Told) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each field with the mapping that may hold it; mappings that should be others are left to validation."""
    spec = document.get("spec") if isinstance(document, dict) else None
    if not isinstance(spec, dict):
        return
    for part, name in told.values():
        holder = spec.setdefault(part, {})
        if isinstance(holder, dict):
            yield part, name, holder
