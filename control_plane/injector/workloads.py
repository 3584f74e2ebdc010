"""Kubernetes objects from files: which of them hold a pod, and which Services lead to it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from bartizan.errors import InvalidInput, Problem
from control_plane.injector.pods import Document
from control_plane.injector.refusals import Namespace

TEMPLATES: Final = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
"""Kind -> where its pod is."""


class _Loader(yaml.SafeLoader):
    """Times stay text: written again as YAML's own they would be none of Kubernetes' any more."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One object; `pod` is the part of `document` that is a pod (the object itself for a Pod), None without one."""

    source: str
    document: Document
    pod: Document | None
    pod_path: str

    @property
    def kind(self) -> str:
        return str(self.document.get("kind", ""))

    @property
    def name(self) -> str:
        metadata = _mapping(self.document, "metadata")
        return str(metadata.get("name") or metadata.get("generateName") or "(no name)")

    @property
    def namespace(self) -> str:
        return str(_mapping(self.document, "metadata").get("namespace") or "")

    @property
    def title(self) -> str:
        """ "Deployment prod/chat"."""
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {where}{self.name}"


def read_documents(text: str, source: str) -> list[Any]:
    """Every YAML (or JSON) document that is not empty. Raises InvalidInput with file and line."""
    try:
        return [each for each in yaml.load_all(text, Loader=_Loader) if each is not None]
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark is not None else source
        message = str(getattr(error, "problem", "") or type(error).__name__)
        raise InvalidInput(
            "not YAML", [Problem(path=where, code="not_yaml", message=message, hint="mend the file")]
        ) from None


def items(documents: list[Any], source: str) -> Iterator[Item]:
    """Objects of the documents, those inside of Lists too; what is no Kubernetes object is passed over."""
    for document in documents:
        if not isinstance(document, dict):
            continue
        if str(document.get("kind", "")).endswith("List") and isinstance(document.get("items"), list):
            yield from items(document["items"], source)
        elif document.get("kind"):
            yield _item(document, source)


def _item(document: Document, source: str) -> Item:
    steps = TEMPLATES.get(str(document["kind"]))
    pod: Any = document if steps is not None else None
    for step in steps or ():
        pod = pod.get(step) if isinstance(pod, dict) else None
    if not isinstance(pod, dict):
        pod = None
    return Item(source=source, document=document, pod=pod, pod_path=".".join(steps or ()))


def namespaces(found: Sequence[Item]) -> dict[str, Namespace]:
    """The Namespaces among the objects, by name."""
    known = {}
    for item in found:
        if item.kind == "Namespace":
            known[item.name] = namespace_of(item.document)
    return known


def namespace_of(document: Document) -> Namespace:
    """As far as a Namespace object matters here."""
    metadata = _mapping(document, "metadata")
    labels, annotations = (_mapping(metadata, each) for each in ("labels", "annotations"))
    return Namespace(
        name=str(metadata.get("name") or ""),
        labels={str(key): str(value) for key, value in labels.items()},
        annotations={str(key): str(value) for key, value in annotations.items()},
    )


def selects(service: Item, pod: Document, namespace: str, default: str) -> bool:
    """Whether a Service (or anything with spec.selector as a plain map) selects the pod."""
    selector = _mapping(_mapping(service.document, "spec"), "selector")
    labels = _mapping(_mapping(pod, "metadata"), "labels")
    same = (service.namespace or default) == (namespace or default)
    return bool(selector) and same and selector.items() <= labels.items()


def service_ports(service: Item) -> list[Document]:
    """The ports of a Service that can be looked at."""
    ports = _mapping(service.document, "spec").get("ports")
    return [each for each in ports if isinstance(each, dict)] if isinstance(ports, list) else []


def target_port(port: Document) -> int | str:
    """Where a Service's port leads: without targetPort to the same number."""
    target = port.get("targetPort")
    if target is None:
        target = port.get("port", 0)
    return target if isinstance(target, int | str) else 0


def _mapping(parent: Document, key: str) -> Document:
    value = parent.get(key)
    return value if isinstance(value, dict) else {}
