"""A pod in, a JSON patch out: what the mutating webhook and `bartizan inject` do. Pure.

Nothing is patched twice, nothing that opted out is touched, and what can't be guarded as asked is refused, never let
through half.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any

from bartizan.errors import InvalidInput, Problem
from control_plane.injector import names
from control_plane.injector.capture import capture_container, take_port_name
from control_plane.injector.config import Config
from control_plane.injector.container import GRACE_SECONDS, sidecar_container, sidecar_volumes
from control_plane.injector.guesses import Guess, guess
from control_plane.injector.json_patch import Operation, difference
from control_plane.injector.loopback import bind_loopback
from control_plane.injector.options import Options, read_options
from control_plane.injector.pods import Document, Pod, read_pod
from control_plane.injector.probes import rewrite_probes
from control_plane.injector.refusals import Namespace, refusals


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """`pod` is the patched document, `operations` leads there from the given one."""

    pod: Document
    operations: tuple[Operation, ...]
    guess: Guess
    options: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Untouched:
    """reason: opted_out, not_enabled, exempt_namespace or already_injected."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why the pod can't be guarded as asked; every reason."""

    problems: tuple[Problem, ...]


Outcome = Injected | Untouched | Refused


def inject(document: Document, namespace: Namespace, config: Config, *, asked: bool = False) -> Outcome:
    """What becomes of a pod. asked: also where the namespace is not labelled (`bartizan inject`)."""
    try:
        pod = read_pod(document)
    except InvalidInput as error:
        return Refused(problems=error.problems)
    if reason := _untouched(pod, namespace, config, asked=asked):
        return Untouched(reason=reason)
    options, problems = read_options(config, pod.metadata.annotations)
    guessed = guess(pod)
    problems += refusals(pod, namespace, config, options, guessed)
    if problems:
        return Refused(problems=problems)
    patched = _patched(document, pod, config, options, guessed)
    return Injected(
        pod=patched, operations=tuple(difference(document, patched)), guess=guessed, options=options
    )


def _untouched(pod: Pod, namespace: Namespace, config: Config, *, asked: bool) -> str:
    choice = pod.metadata.labels.get(names.INJECT, "")
    if namespace.name in config.exempt_namespaces:
        return "exempt_namespace"
    if choice == "false":
        return "opted_out"
    if choice != "true" and not namespace.injection and not asked:
        return "not_enabled"
    if names.STATUS in pod.metadata.annotations and pod.sidecar() is not None:
        return "already_injected"
    return ""


def _patched(document: Document, pod: Pod, config: Config, options: Options, guessed: Guess) -> Document:
    made = copy.deepcopy(document)
    spec, metadata = made["spec"], _below(made, "metadata", dict)
    app_probes = rewrite_probes(pod, made) if options.rewrite_probes else {}
    if options.bind_loopback:
        bind_loopback(pod, made, guessed)
    port_name = take_port_name(pod, made, guessed)
    sidecar = sidecar_container(config, options, port_name, app_probes)
    before = _below(spec, "initContainers", list) if options.native or options.capture == "redirect" else []
    if options.native:
        before.insert(0, sidecar)
    else:
        # first, so that it is started first
        spec["containers"].insert(0, sidecar)
    if options.capture == "redirect":
        before.insert(0, capture_container(config, options))
    _below(spec, "volumes", list).extend(sidecar_volumes(options))
    grace = options.drain_seconds + GRACE_SECONDS
    if pod.spec.termination_grace_period_seconds < grace:
        spec["terminationGracePeriodSeconds"] = grace
    _below(metadata, "labels", dict)[names.GUARDED] = "true"
    annotations = _below(metadata, "annotations", dict)
    annotations.setdefault(names.DEFAULT_CONTAINER, guessed.container)
    annotations[names.GUESS] = guessed.shown()
    annotations[names.STATUS] = _status(config, options)
    return made


def _below(parent: Document, key: str, kind: type[Any]) -> Any:
    """The value under a key, made where it is absent or null."""
    if parent.get(key) is None:
        parent[key] = kind()
    return parent[key]


def _status(config: Config, options: Options) -> str:
    status = {
        "image": config.image,
        "capture": options.capture,
        "listenerPort": options.listener_port,
        "native": options.native,
    }
    return json.dumps(status, sort_keys=True, separators=(",", ":"))
