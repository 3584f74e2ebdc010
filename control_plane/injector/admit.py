"""Whether an enforced namespace admits a pod: the rules of rules.py, and a policy that guards its endpoint. Pure.

The rules alone are judged by the API server, too (admission_policy.py); what policies say only we know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bartizan.errors import InvalidInput, Problem
from bartizan.policy.schema import ModelPolicy
from control_plane.injector import names
from control_plane.injector.config import Config
from control_plane.injector.judge import Judge, as_problems
from control_plane.injector.pods import Document, Pod, read_pod
from control_plane.injector.refusals import Namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Admitted without problems; warnings are shown to whoever applied the pod."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


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
    warnings = [
        f"policy {each.qualified_name} is in shadow mode: it records what it would refuse, and lets it pass"
        for each in chosen
        if each.spec.mode == "shadow"
    ]
    return Admission(problems=tuple(problems), warnings=tuple(warnings))


def _lacks(policy: ModelPolicy) -> list[Problem]:
    """Authentication is part of every valid policy; it is asked for here all the same, so that this stays true."""
    spec, name, found = policy.spec, policy.qualified_name, []
    if not spec.authn.api_keys and not spec.authn.jwt:
        found.append(
            _problem("policy_without_authentication", f"policy {name} lets everybody in", "set spec.authn")
        )
    if not spec.limits.requests:
        found.append(
            _problem("policy_without_limits", f"policy {name} limits no rate", "set spec.limits.requests")
        )
    if not spec.input and not spec.output:
        found.append(
            _problem(
                "policy_without_content_checks",
                f"policy {name} checks no content",
                "set spec.input or spec.output",
            )
        )
    return found


def _problem(code: str, message: str, hint: str) -> Problem:
    return Problem(path="metadata.labels", code=code, message=message, hint=hint)
