"""One effective policy of a ModelPolicy and the MeshPolicies that touch it, with the origin of each field. Pure.

After validate.py, before compile: nothing behind this knows that there is more than one kind of document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bartizan.errors import PolicyInvalid, Problem
from bartizan.policy.defaults import NAMESPACE
from bartizan.policy.merge import Layer, Merged, Origin, merge
from bartizan.policy.reading import at, mapping
from bartizan.policy.schema import ModelPolicy, ModelPolicySpec
from bartizan.policy.structure import structural_problems
from bartizan.policy.validate import Mesh, Written, as_model_policy, invalid, problems_of, refuse_mesh


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """What holds at an endpoint. meshes: those that touch it, strongest first. document: as an author would write it."""

    policy: ModelPolicy
    document: dict[str, Any]
    meshes: tuple[Mesh, ...]
    merged: Merged

    def origins(self) -> Mapping[str, Origin]:
        """Path in the effective document -> where its value was written, in the document's order."""
        return self.merged.origins

    def traced(self, problems: Iterable[Problem]) -> list[Problem]:
        """Problems of the effective document, said of the documents that they come from."""
        return [_traced(each, self.merged) for each in problems]


def effective_policy(written: Written, meshes: Sequence[Mesh] = ()) -> Effective:
    """Raises PolicyInvalid with every problem, each with document and path of what somebody wrote."""
    refuse_mesh(written)
    document = written.document
    touching = touching_meshes(document, meshes)
    merged = merge(list(_layers(written, touching)))
    whole = (
        {**document, "spec": _ordered(merged.spec)} if isinstance(document.get("spec"), dict) else document
    )
    found = [_traced(each, merged) for each in problems_of(whole)]
    if touching:
        # What an override hides is wrong all the same; what is missing here a default may have given.
        found += [each for each in structural_problems(document) if each.code != "missing_field"]
    if found or written.problems:
        raise invalid([*written.problems, *found])
    return Effective(policy=as_model_policy(whole), document=whole, meshes=tuple(touching), merged=merged)


def merged_document(written: Written, meshes: Sequence[Mesh]) -> Any:
    """The effective `spec`, not judged: to see whether a change of MeshPolicies makes a difference here."""
    return merge(list(_layers(written, touching_meshes(written.document, meshes)))).spec


def touching_meshes(document: Mapping[str, Any], meshes: Iterable[Mesh]) -> list[Mesh]:
    """Those that touch this ModelPolicy, strongest first."""
    namespace = at(document, "metadata", "namespace", default=NAMESPACE)
    labels, protocol = mapping(document, "spec", "model", "labels"), at(document, "spec", "model", "protocol")
    chosen = [
        each
        for each in meshes
        if isinstance(protocol, str) and each.policy.spec.selector.selects(namespace, labels, protocol)
    ]
    return sorted(chosen, key=lambda each: (-each.policy.spec.priority, each.policy.name))


def ties(mesh: Mesh, others: Iterable[Mesh]) -> list[Problem]:
    """A problem for each other MeshPolicy of the same priority that could touch an endpoint that this one touches."""
    spec = mesh.policy.spec
    return [
        Problem(
            path="spec.priority",
            code="policy_conflict",
            message=f"MeshPolicy {other.policy.name} has priority {spec.priority}, too, and could touch the same "
            "endpoint",
            hint="give one of them another priority, or selectors that never meet",
        )
        for other in sorted(others, key=lambda each: each.policy.name)
        if other.policy.name != mesh.policy.name
        and other.policy.spec.priority == spec.priority
        and other.policy.spec.selector.meets(spec.selector)
    ]


def at_endpoint(refusal: PolicyInvalid, name: str) -> list[Problem]:
    """The problems of an endpoint's effective policy, for whoever changed a MeshPolicy and did not write the endpoint."""
    return [
        replace(each, message=f"{each.message} (at endpoint {name})")
        if each.document
        else replace(each, document=f"ModelPolicy {name}")
        for each in refusal.problems
    ]


def _ordered(spec: dict[str, Any]) -> dict[str, Any]:
    """In the order of the language, so that the document reads like others."""
    known = [name for name in ModelPolicySpec.__struct_encode_fields__ if name in spec]
    return {name: spec[name] for name in dict.fromkeys([*known, *spec])}


def _layers(written: Written, meshes: Sequence[Mesh]) -> Iterator[Layer]:
    for mesh in meshes:
        yield from _part(mesh, "overrides")
    name = written.qualified_name
    yield Layer(
        document=f"ModelPolicy {name}", kind="policy", root="spec", spec=mapping(written.document, "spec")
    )
    for mesh in meshes:
        yield from _part(mesh, "defaults")


def _part(mesh: Mesh, part: str) -> Iterator[Layer]:
    spec = mapping(mesh.document, "spec", part)
    if spec:
        yield Layer(
            document=f"MeshPolicy {mesh.policy.name}",
            kind="override" if part == "overrides" else "default",
            root=f"spec.{part}",
            spec=spec,
        )


def _traced(problem: Problem, merged: Merged) -> Problem:
    origin = merged.origin_of(problem.path)
    if origin is None:
        return problem
    return replace(problem, path=origin.path, document="" if origin.kind == "policy" else origin.document)
