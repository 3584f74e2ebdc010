"""`bartizan analyze`: what of a set of objects lets traffic reach a model around its sidecar. Pure.

Objects come from files, where a pod is judged as the webhook would patch it, or from a cluster, where it is judged as
it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bartizan.errors import InvalidInput, Problem
from control_plane.injector import names
from control_plane.injector.config import Config
from control_plane.injector.findings import Finding
from control_plane.injector.guesses import guess, looks_like_model
from control_plane.injector.judge import pod_judge
from control_plane.injector.patch import Injected, Refused, inject
from control_plane.injector.pods import Document, Pod, read_pod
from control_plane.injector.reach import around_by_service, open_ports
from control_plane.injector.refusals import Namespace, no_trust
from control_plane.injector.rule import Rule, Severity
from control_plane.injector.workloads import Item, namespaces

NEEDS_CONFIG = frozenset({"sidecar_image", "sidecar_environment", "sidecar_volumes", "sidecar_open_ports"})
"""Rules about values that only the injector's configuration knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Guarded:
    item: Item
    document: Document
    pod: Pod
    namespace: Namespace


def analyze(
    found: Sequence[Item],
    config: Config | None,
    *,
    default_namespace: str = "default",
    running: bool = False,
) -> list[Finding]:
    """All findings, worst first. running: pods are as they run; else labelled namespaces inject what comes."""
    known = namespaces(found)
    stand_in = config or Config(image=f"unknown.example/sidecar@sha256:{'f' * 64}")
    judge = pod_judge(stand_in)
    findings: list[Finding] = []
    guarded: list[_Guarded] = []
    for item in found:
        if item.pod is None or _made_by_another(item):
            continue
        where = item.namespace or default_namespace
        if where in stand_in.exempt_namespaces:
            continue
        namespace = known.get(where, Namespace(name=where))
        one, more = _look(item, namespace, stand_in, running=running)
        findings += more
        if one is None:
            continue
        broken = [
            rule
            for rule in judge.broken(one.document, one.namespace)
            if config is not None or rule.code not in NEEDS_CONFIG
        ]
        findings += [_by_rule(item, rule) for rule in broken]
        if one.pod.sidecar() is not None:
            guarded.append(one)
            if where in known and not namespace.trusted:
                findings.append(_finding(item, "medium", no_trust(namespace)))
    for each in guarded:
        findings += [
            _finding(each.item, severity, problem)
            for severity, problem in (
                *around_by_service(each.document, each.pod, each.item, found, default_namespace),
                *open_ports(each.document, each.pod, each.item, found, default_namespace),
            )
        ]
    return sorted(findings, key=Finding.rank)


def _look(
    item: Item, namespace: Namespace, config: Config, *, running: bool
) -> tuple[_Guarded | None, list[Finding]]:
    """What to judge (None: nothing that is or should be guarded), and what is wrong before any judging."""
    assert item.pod is not None
    try:
        pod = read_pod(item.pod)
    except InvalidInput as error:
        return None, [_finding(item, "low", each) for each in error.problems]
    out = pod.metadata.labels.get(names.INJECT) == "false"
    if pod.sidecar() is not None or running:
        if pod.sidecar() is None and not namespace.enforced:
            return None, list(_unguarded(item, pod))
        return _Guarded(item=item, document=item.pod, pod=pod, namespace=namespace), []
    wanted = namespace.injection or pod.metadata.labels.get(names.INJECT) == "true"
    if out or not wanted:
        if namespace.enforced:
            return _Guarded(item=item, document=item.pod, pod=pod, namespace=namespace), []
        return None, list(_unguarded(item, pod))
    match inject(item.pod, namespace, config):
        case Injected() as outcome:
            patched = read_pod(outcome.pod)
            return _Guarded(item=item, document=outcome.pod, pod=patched, namespace=namespace), []
        case Refused() as outcome:
            return None, [_finding(item, "high", each) for each in outcome.problems]
    return None, []


def _unguarded(item: Item, pod: Pod) -> Iterator[Finding]:
    if not looks_like_model(pod):
        return
    problem = Problem(
        path="spec.containers",
        code="model_without_sidecar",
        message=f"a model server without a sidecar: {guess(pod).shown()}",
        hint=f"label the namespace {names.INJECTION}: enabled, or use `bartizan inject`",
    )
    yield _finding(item, "high", problem)


def _made_by_another(item: Item) -> bool:
    """A ReplicaSet of a Deployment and the like: its maker is looked at."""
    metadata = item.document.get("metadata")
    owners = metadata.get("ownerReferences") if isinstance(metadata, dict) else None
    return item.kind != "Pod" and bool(owners)


def _by_rule(item: Item, rule: Rule) -> Finding:
    problem = Problem(path=rule.path, code=rule.code, message=rule.message, hint=rule.hint)
    return _finding(item, rule.severity, problem)


def _finding(item: Item, severity: Severity, problem: Problem) -> Finding:
    prefix = f"{item.pod_path}." if item.pod_path and problem.path else ""
    return Finding(
        severity=severity,
        code=problem.code,
        object=item.title,
        path=f"{prefix}{problem.path}",
        message=problem.message,
        hint=problem.hint,
        source=item.source,
    )


def summary(findings: Iterable[Finding]) -> str:
    """ "2 high, 1 low", or "nothing found"."""
    counts: dict[str, int] = {}
    for each in findings:
        counts[each.severity] = counts.get(each.severity, 0) + 1
    return ", ".join(f"{number} {severity}" for severity, number in counts.items()) or "nothing found"
