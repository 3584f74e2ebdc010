"""What a valid policy says and its author may not mean: said with the answer, never a reason to refuse. Pure.

Beside validation (bartizan/policy/effective.py); called by both services and by `bartizan policy validate`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import UNSET
from msgspec.structs import replace

from bartizan.errors import PolicyInvalid, Problem
from bartizan.policy.checks import Exfiltration
from bartizan.policy.effective import Effective, effective_policy, merged_document
from bartizan.policy.validate import Mesh, Written
from control_plane.policies.diff import differences


def warnings_of(written: Written, effective: Effective) -> list[Problem]:
    """Of an endpoint: what its policy leaves open, and what overrides make less strict than it is written."""
    found = effective.traced(_unguarded_tokens(effective))
    for mesh in effective.meshes:
        found += loosened(written, effective.meshes, mesh, document=f"MeshPolicy {mesh.policy.name}")
    return found


def loosened(written: Written, meshes: Sequence[Mesh], by: Mesh, *, document: str = "") -> list[Problem]:
    """What the overrides of one of these MeshPolicies make less strict at an endpoint than it is without them.

    document: as which they are told. Nothing is where only the overrides make the policy valid.
    """
    if by.policy.spec.overrides is UNSET:
        return []
    without = [_without_overrides(each) if each is by else each for each in meshes]
    if merged_document(written, without) == merged_document(written, meshes):
        return []
    try:
        before, after = [effective_policy(written, each).policy for each in (without, meshes)]
    except PolicyInvalid:
        return []
    return [
        Problem(
            path=change.path.replace("spec", "spec.overrides", 1),
            code="loosened_by_override",
            message=change.loosens,
            document=document,
        )
        for change in differences(before, after)
        if change.loosens
    ]


def _unguarded_tokens(effective: Effective) -> Iterator[Problem]:
    spec = effective.policy.spec
    if any(isinstance(check, Exfiltration) and check.action != "flag" for check in spec.output):
        return
    for number, check in enumerate(spec.input):
        if check.restores:
            yield Problem(
                path=f"spec.input[{number}].{check.__struct_config__.tag}",
                code="unguarded_tokens",
                message="tokens are put back into answers, and nothing takes links to strangers out of them: what a "
                "token stands for can leave in one",
                hint="add exfiltration to output",
            )


def _without_overrides(mesh: Mesh) -> Mesh:
    spec = {name: part for name, part in mesh.document["spec"].items() if name != "overrides"}
    policy = replace(mesh.policy, spec=replace(mesh.policy.spec, overrides=UNSET))
    return Mesh(policy=policy, document={**mesh.document, "spec": spec})
