"""What a ModelPolicy of an enforced namespace must ask for, and whom a change of it leaves without any policy. Pure.

The rules are CEL over the object, as those of pods are: the API server judges by them, the webhook, and the admission
of a pod that the policy selects. A sidecar whose policy is gone refuses everything, so taking one away opens nothing;
it ends a service, and whoever does it is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bartizan.policy.schema import ModelPolicy
from control_plane.injector import names
from control_plane.injector.pods import Document
from control_plane.injector.rule import Rule

POLICY_RULES: Final = (
    Rule(
        code="policy_without_authentication",
        path="spec.authn",
        message="it lets everybody in",
        hint="set spec.authn",
        expression="has(object.spec.authn) && (has(object.spec.authn.apiKeys) ||"
        " (has(object.spec.authn.jwt) && size(object.spec.authn.jwt) > 0))",
    ),
    Rule(
        code="policy_without_limits",
        path="spec.limits.requests",
        message="it limits no rate",
        hint="set spec.limits.requests",
        expression="has(object.spec.limits) && has(object.spec.limits.requests) &&"
        " size(object.spec.limits.requests) > 0",
    ),
    Rule(
        code="policy_without_content_checks",
        path="spec.input",
        message="it checks no content",
        hint="set spec.input or spec.output",
        expression="(has(object.spec.input) && size(object.spec.input) > 0) ||"
        " (has(object.spec.output) && size(object.spec.output) > 0)",
    ),
)


def left_alone(
    old: object, new: object, others: Sequence[ModelPolicy], pods: Sequence[Document]
) -> list[str]:
    """Names of running guarded pods that the old object selects and then nobody does.

    old, new: ModelPolicy objects, None where there is none; others: the namespace's other policies.
    """
    before, after = _selector(old), _selector(new)
    found = []
    for pod in pods:
        metadata = pod.get("metadata") or {}
        labels = metadata.get("labels") or {}
        if labels.get(names.GUARDED) != "true" or "deletionTimestamp" in metadata:
            continue
        kept = _selects(after, labels) or any(
            _selects(each.spec.selector.match_labels, labels) for each in others
        )
        if _selects(before, labels) and not kept:
            found.append(str(metadata.get("name", "")))
    return sorted(found)


def _selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return bool(selector) and selector.items() <= labels.items()


def _selector(document: object) -> Mapping[str, str]:
    found: Any = document
    for step in ("spec", "selector", "matchLabels"):
        found = found.get(step) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}
