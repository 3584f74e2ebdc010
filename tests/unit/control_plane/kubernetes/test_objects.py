"""What is kept of an object: never more than a policy may have."""

from __future__ import annotations

import msgspec
import pytest

from bartizan.errors import PolicyInvalid
from bartizan.policy.documents import MAX_BYTES
from control_plane.kubernetes.cluster_policies import read
from control_plane.kubernetes.objects import PolicyObject

METADATA = {"name": "chat", "namespace": "default"}


def kept(spec: object, **more: object) -> PolicyObject:
    found = read(msgspec.Raw(msgspec.json.encode({"metadata": METADATA, "spec": spec, **more})))
    assert found is not None
    return found


@pytest.mark.parametrize("spec", [{"description": "x" * MAX_BYTES}, ["a"] * MAX_BYTES, "x" * MAX_BYTES])
def test_a_spec_that_is_too_large_is_forgotten_and_told_of(spec: object) -> None:
    found = kept(spec)
    assert found.spec == b""
    with pytest.raises(PolicyInvalid) as refused:
        found.document()
    (problem,) = refused.value.problems
    assert (problem.path, problem.code) == ("spec", "too_large")


def test_a_spec_that_a_policy_may_have_is_kept_whatever_the_object_says_of_itself() -> None:
    spec = {"description": "x" * (MAX_BYTES - 100)}
    assert msgspec.json.decode(kept(spec, tooLarge=5).spec) == spec
    assert b'"namespace":"default"' in kept({"a": 1}, tooLarge=5).document()
