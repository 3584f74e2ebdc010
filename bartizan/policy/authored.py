"""The two forms of a check: authored (`- pii: {action: redact}`) and tagged (`{"check": "pii", "action": "redact"}`).

Authors, errors and editors know the authored form; msgspec decodes and guard plans carry the tagged one.
"""

from __future__ import annotations

from typing import Any

import msgspec

from bartizan.policy.schema import ModelPolicy

CHECK_LISTS = ("input", "output")
TAG = "check"


def to_tagged(document: dict[str, Any]) -> dict[str, Any]:
    """A copy with every check in tagged form. The document is structurally valid."""
    return {**document, "spec": tagged_spec(document["spec"])}


def tagged_spec(spec: dict[str, Any]) -> dict[str, Any]:
    """A copy of the fields of a ModelPolicy's spec, all or some, with every check in tagged form."""
    tagged = dict(spec)
    for direction in CHECK_LISTS:
        if direction in tagged:
            tagged[direction] = [_tag(item) for item in tagged[direction]]
    return tagged


def dump_policy(policy: ModelPolicy) -> dict[str, Any]:
    """The policy as a document in authored form, defaults omitted: validate_document gives the same policy back."""
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(policy))
    spec = document["spec"]
    for direction in CHECK_LISTS:
        if direction in spec:
            spec[direction] = [_untag(item) for item in spec[direction]]
    return document


def _tag(item: dict[str, Any]) -> dict[str, Any]:
    ((name, config),) = item.items()
    return {TAG: name, **(config or {})}


def _untag(item: dict[str, Any]) -> dict[str, Any]:
    config = dict(item)
    return {config.pop(TAG): config}
