"""`bartizan inject`: patches every pod in a set of documents, and leads their Services to the sidecar. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bartizan.errors import Problem
from control_plane.injector.config import Config
from control_plane.injector.patch import Injected, Refused, Untouched, inject
from control_plane.injector.refusals import Namespace, no_trust
from control_plane.injector.workloads import Item, items, namespaces, selects, service_ports, target_port


@dataclass(frozen=True, slots=True, kw_only=True)
class Offline:
    """`notes` say for people what was done with each object; with problems nothing should be used."""

    notes: tuple[str, ...]
    problems: tuple[Problem, ...]
    injected: int


def inject_documents(documents: list[Any], source: str, config: Config, namespace: str) -> Offline:
    """Change `documents` in place. namespace: of objects that name none."""
    found = list(items(documents, source))
    known = namespaces(found)
    notes: list[str] = []
    problems: list[Problem] = []
    done: list[tuple[Item, Injected]] = []
    for item in found:
        if item.pod is None:
            continue
        where = item.namespace or namespace
        there = known.get(where, Namespace(name=where))
        outcome = inject(item.pod, there, config, asked=True)
        match outcome:
            case Injected():
                item.pod.clear()
                item.pod.update(outcome.pod)
                notes.append(f"{item.title}: injected; {outcome.guess.shown()}")
                done.append((item, outcome))
                if where in known and not there.trusted:
                    problem = no_trust(there)
                    notes.append(f"{item.title}: {problem.message}: {problem.hint}")
            case Untouched():
                notes.append(f"{item.title}: untouched, {outcome.reason}")
            case Refused():
                prefix = f"{source}: {item.title}: {item.pod_path}{'.' if item.pod_path else ''}"
                problems += [replace(each, path=f"{prefix}{each.path}") for each in outcome.problems]
    for service in found:
        if service.kind == "Service":
            notes += _lead(service, done, namespace)
    return Offline(notes=tuple(notes), problems=tuple(problems), injected=len(done))


def _lead(service: Item, done: list[tuple[Item, Injected]], namespace: str) -> list[str]:
    """Target ports that are the model's number become the listener's; names have moved with the patch."""
    notes = []
    for item, outcome in done:
        if item.pod is None or not selects(service, item.pod, item.namespace, namespace):
            continue
        for port in service_ports(service):
            if outcome.guess.port and target_port(port) in {outcome.guess.port, str(outcome.guess.port)}:
                port["targetPort"] = outcome.options.listener_port
                notes.append(
                    f"{service.title}: targetPort {outcome.guess.port} -> {outcome.options.listener_port}"
                )
    return notes
