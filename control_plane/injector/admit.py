"""Whether an enforced namespace admits a pod, a policy, a connection into a pod: the rules, and what they can't see. Pure.

The rules alone are judged by the API server, too (admission_policy.py); what policies say only we know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from bartizan.errors import InvalidInput, Problem
from bartizan.policy.schema import ModelPolicy
from control_plane.injector import names
from control_plane.injector.config import Config
from control_plane.injector.judge import Judge, as_problems
from control_plane.injector.pods import Document, Pod, read_pod
from control_plane.injector.policy_rules import POLICY_RULES, left_alone
from control_plane.injector.refusals import Namespace
from control_plane.injector.review import Request

_MOST_SHOWN: Final = 3
_POLICIES: Final = Judge(POLICY_RULES, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Admitted without problems; warnings are shown to whoever applied the pod."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


def admit_policy(
    request: Request, config: Config, others: Sequence[ModelPolicy], pods: Sequence[Document]
) -> Admission:
    """Whether a ModelPolicy of an enforced namespace may become, change or go. pods: the guarded ones there."""
    if request.namespace in config.exempt_namespaces or not config.require_policy:
        return Admission()
    problems = as_problems(_POLICIES.broken(request.object)) if request.operation != "DELETE" else ()
    warnings = []
    if request.operation != "DELETE" and _mode(request.object) == "shadow":
        warnings.append(shadow_warning(f"{request.namespace}/{request.name}"))
    new = None if request.operation == "DELETE" else request.object
    if alone := left_alone(request.old_object, new, others, pods):
        shown = ", ".join(alone[:_MOST_SHOWN]) + (", …" if len(alone) > _MOST_SHOWN else "")
        text = f"{len(alone)} running pods are left without a policy, so their sidecars refuse everything: {shown}"
        if config.pods_without_policy == "deny":
            hint = "end the pods first, or apply another policy that selects them"
            more = Problem(path="spec.selector", code="pods_without_policy", message=text, hint=hint)
            problems = (*problems, more)
        else:
            warnings.append(text)
    return Admission(problems=problems, warnings=tuple(warnings))


def admit_connection(request: Request, config: Config, refused: Judge, watched: Judge) -> Admission:
    """Whether somebody may connect into a pod of an enforced namespace."""
    if request.namespace in config.exempt_namespaces:
        return Admission()
    given = request.for_rules()
    problems = as_problems(refused.broken(request.object, request=given))
    told = [rule.message for rule in watched.broken(request.object, request=given)]
    return Admission(problems=problems, warnings=tuple(told))


def admit(
    document: Document,
    namespace: Namespace,
    config: Config,
    judge: Judge,
    policies: Sequence[ModelPolicy] | None,
) -> Admission:
    """policies: the published ones of the namespace; None where nobody can be asked, then only the rules count."""
    if namespace.name in config.exempt_namespaces:
        return Admission()
    try:
        pod = read_pod(document)
        problems = as_problems(judge.broken(document, namespace))
    except InvalidInput as error:
        return Admission(problems=error.problems)
    if problems or policies is None or not config.require_policy or _opted_out(pod):
        return Admission(problems=problems)
    return _guarded(pod, namespace.name, policies)


def _opted_out(pod: Pod) -> bool:
    return pod.metadata.labels.get(names.INJECT) == "false" and pod.sidecar() is None


def _guarded(pod: Pod, namespace: str, policies: Sequence[ModelPolicy]) -> Admission:
    labels = pod.metadata.labels
    chosen = [
        each
        for each in policies
        if each.metadata.namespace == namespace and each.spec.selector.match_labels.items() <= labels.items()
    ]
    if not chosen:
        problem = _problem(
            "no_policy",
            f"no published policy of namespace {namespace} selects the pod: its sidecar would refuse everything",
            "apply a ModelPolicy whose selector.matchLabels are among the pod's labels",
        )
        return Admission(problems=(problem,))
    problems = [problem for each in chosen for problem in _lacks(each)]
    warnings = [shadow_warning(each.qualified_name) for each in chosen if each.spec.mode == "shadow"]
    return Admission(problems=tuple(problems), warnings=tuple(warnings))


def shadow_warning(policy: str) -> str:
    """For whoever starts a pod under such a policy, or writes one."""
    return f"policy {policy} is in shadow mode: it records what it would refuse, and lets it pass"


def _lacks(policy: ModelPolicy) -> list[Problem]:
    document = msgspec.json.decode(msgspec.json.encode(policy))
    return [
        _problem(rule.code, f"policy {policy.qualified_name}: {rule.message}", rule.hint)
        for rule in _POLICIES.broken(document)
    ]


def _problem(code: str, message: str, hint: str) -> Problem:
    return Problem(path="metadata.labels", code=code, message=message, hint=hint)


def _mode(document: object) -> object:
    spec = document.get("spec") if isinstance(document, dict) else None
    return spec.get("mode") if isinstance(spec, dict) else None
