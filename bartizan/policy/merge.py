"""Layers of a policy become one: overrides of MeshPolicies over the ModelPolicy over defaults of MeshPolicies. Pure.

Between validation of the single documents and that of the effective one (effective.py). Works on plain documents,
because only there "not written" differs from "written, and the default". The rules are those of docs/mesh-policies.md:

* The strongest layer that writes a value gives it. Mappings of settings (MAPPINGS) are merged field by field.
* Lists of things with a name (NAMED) are merged by that name: a thing comes whole from the strongest layer that names
  it. A ModelPolicy that writes such a list empty takes no defaults there.
* Everything else is one value: authn, tenants, listener.tls, waf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from bartizan.policy.documents import join

LayerKind = Literal["override", "policy", "default"]

MAPPINGS: Final = frozenset(
    {
        "spec",
        "spec.listener",
        "spec.model",
        "spec.limits",
        "spec.limits.body",
        "spec.failure",
        "spec.telemetry",
    }
)
"""Merged field by field."""


def _check_name(item: Any) -> str | None:
    return next(iter(item)) if isinstance(item, dict) and len(item) == 1 else None


def _field(name: str) -> Callable[[Any], str | None]:
    def read(item: Any) -> str | None:
        value = item.get(name) if isinstance(item, dict) else None
        return value if isinstance(value, str) else None

    return read


def _rule_name(item: Any) -> str | None:
    """With its kind: a deny rule that took the place of an allow rule would open what that one closed."""
    name = _field("name")(item)
    return name and f"{'deny' if 'deny' in item else 'allow'} {name}"


NAMED: Final[Mapping[str, Callable[[Any], str | None]]] = {
    "spec.input": _check_name,
    "spec.output": _check_name,
    "spec.authz": _rule_name,
    "spec.limits.requests": _field("per"),
}
"""Merged by name; what an entry's name is. An entry without one (the document is wrong) stays as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One document's say. document: its kind and name, as people read them; root: where `spec` stands in it."""

    document: str
    kind: LayerKind
    root: str
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a value of the effective policy was written."""

    document: str
    kind: LayerKind
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The effective `spec`, and for each value that came whole the place where it was written."""

    spec: dict[str, Any]
    origins: Mapping[str, Origin]

    def origin_of(self, path: str) -> Origin | None:
        """Where the value at a path of the effective document, or the value that it is part of, was written.

        None for a mapping or list that several layers make up.
        """
        head = path
        while head:
            if head in self.origins:
                found = self.origins[head]
                return replace(found, path=found.path + path[len(head) :])
            head = head[: max(head.rfind("."), head.rfind("["), 0)]
        return None


@dataclass(frozen=True, slots=True)
class _Written:
    """A value in one layer."""

    layer: Layer
    path: str
    value: Any

    def below(self, step: str | int) -> _Written:
        return _Written(self.layer, join(self.path, step), self.value[step])


@dataclass(slots=True)
class _Merge:
    origins: dict[str, Origin] = field(default_factory=dict)

    def value(self, path: str, written: Sequence[_Written]) -> Any:
        """The value at a path; `written`: strongest first, at least one."""
        first = written[0]
        if path in MAPPINGS and isinstance(first.value, dict):
            return self.mapping(path, [each for each in written if isinstance(each.value, dict)])
        if path in NAMED and isinstance(first.value, list):
            return self.named(path, [each for each in written if isinstance(each.value, list)])
        self.write(path, first)
        return first.value

    def mapping(self, path: str, written: Sequence[_Written]) -> dict[str, Any]:
        names = dict.fromkeys(name for each in written for name in each.value)
        return {
            name: self.value(join(path, name), [each.below(name) for each in written if name in each.value])
            for name in names
        }

    def named(self, path: str, written: Sequence[_Written]) -> list[Any]:
        if any(each.layer.kind == "policy" and not each.value for each in written):
            written = [each for each in written if each.layer.kind != "default"]
        entries = list(_by_name(written, NAMED[path]))
        if len({id(entry.layer) for entry in entries}) > 1:
            # Detectors of one document must see what the sanitizer of another leaves.
            entries.sort(key=lambda entry: NAMED[path](entry.value) != "sanitize")
        for index, entry in enumerate(entries):
            self.write(join(path, index), entry)
        return [entry.value for entry in entries]

    def write(self, path: str, written: _Written) -> None:
        layer = written.layer
        self.origins[path] = Origin(document=layer.document, kind=layer.kind, path=written.path)


def _by_name(written: Sequence[_Written], name_of: Callable[[Any], str | None]) -> Iterable[_Written]:
    """All entries but those that a stronger layer names, too. One layer may name a thing twice (two `pii` checks)."""
    taken: set[str] = set()
    for each in written:
        here = {name: None for item in each.value if (name := name_of(item)) is not None}
        for index, item in enumerate(each.value):
            if name_of(item) not in taken:
                yield each.below(index)
        taken.update(here)


def merge(layers: Sequence[Layer]) -> Merged:
    """One effective `spec` of all layers, the strongest first. Total: a wrong document gives a wrong one back."""
    made = _Merge()
    spec = made.mapping("spec", [_Written(layer, layer.root, layer.spec) for layer in layers])
    return Merged(spec=spec, origins=made.origins)
