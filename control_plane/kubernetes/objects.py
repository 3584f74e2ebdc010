"""ModelPolicy and MeshPolicy objects of a cluster as the reconciler reads and writes them.

`spec` is the policy language itself and stays undecoded here: the policies service judges it. `status` is ours.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from bartizan.errors import BartizanError, PolicyInvalid, Problem
from bartizan.policy.documents import MAX_BYTES
from bartizan.policy.schema import API_VERSION

GROUP, _, VERSION = API_VERSION.partition("/")
KIND, PLURAL = "ModelPolicy", "modelpolicies"
MESH_KIND, MESH_PLURAL = "MeshPolicy", "meshpolicies"
MOST_PROBLEMS = 20
MOST_INSTANCES = 20

ConditionType = Literal["Accepted", "Published", "Enforced", "Warning"]


class Gone(BartizanError):
    """The resource version from which a watch was to go on is too old: list anew."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    pass


class Condition(_Part, frozen=True):
    """As in every Kubernetes API: metav1.Condition."""

    type: Annotated[ConditionType, Meta(description="Accepted: the document is valid. Published: it was compiled and signed. Enforced: every selected sidecar proved it. Warning: something in it may not be meant.")]  # fmt: skip
    status: Literal["True", "False", "Unknown"]
    reason: Annotated[str, Meta(max_length=1024, description="A word for programs.")]
    message: Annotated[str, Meta(max_length=32768, description="A sentence for people.")]
    last_transition_time: Annotated[str, Meta(description="When the status was another one last.")]
    observed_generation: Annotated[int, Meta(ge=0)]


class PolicyProblem(_Part, frozen=True):
    """One thing wrong with the document."""

    path: str
    code: str
    message: str
    hint: str = ""
    document: Annotated[str, Meta(description="Kind and name of the document that the path is of, where it is another one.")] = ""  # fmt: skip


class InstanceReason(_Part, frozen=True):
    """A selected sidecar (of a MeshPolicy: an endpoint) that does not enforce the newest version, and why."""

    instance: str
    state: str
    reason: str
    path: str = ""


class Status(_Part, frozen=True, omit_defaults=False):
    """What is proven of this policy; written by the control plane alone."""

    summary: Annotated[str, Meta(description='For people: "ENFORCED 3/3", "PENDING 2/3", "INVALID", …')]
    observed_generation: Annotated[int, Meta(ge=0, description="metadata.generation that this status speaks of.")]  # fmt: skip
    revision: Annotated[int, Meta(ge=0, description="Published revision, 0 for none.")] = 0
    version: Annotated[int, Meta(ge=0, description="Version under which it travels.")] = 0
    enforced: Annotated[
        int, Meta(ge=0, description="Sidecars that proved the newest version; of a MeshPolicy: endpoints.")
    ] = 0
    total: Annotated[
        int, Meta(ge=0, description="Sidecars that the policy selects; of a MeshPolicy: endpoints.")
    ] = 0
    conditions: tuple[Condition, ...] = ()
    problems: Annotated[tuple[PolicyProblem, ...], Meta(max_length=MOST_PROBLEMS, description="Everything wrong with the document, each with its path.")] = ()  # fmt: skip
    missing: Annotated[tuple[InstanceReason, ...], Meta(max_length=MOST_INSTANCES, description="Those that do not enforce it yet, and why.")] = ()  # fmt: skip


class Metadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The few fields that are read. namespace: "" for a MeshPolicy."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    deletion_timestamp: str = ""


class PolicyObject(msgspec.Struct, frozen=True, kw_only=True):
    """One policy of the cluster.

    spec: JSON, undecoded. too_large: bytes of a spec that no policy can have and that is not kept, as there may be many.
    """

    metadata: Metadata
    spec: bytes = b"null"
    status: dict[str, Any] = {}
    too_large: int = 0

    @property
    def qualified_name(self) -> str:
        namespace, name = self.metadata.namespace, self.metadata.name
        return f"{namespace}/{name}" if namespace else name

    def document(self) -> bytes:
        """The policy document in it: what the API would be given. Labels, annotations and the like are Kubernetes' own.

        Raises PolicyInvalid.
        """
        if self.too_large:
            message = f"{self.too_large} bytes; a policy has at most {MAX_BYTES}"
            raise PolicyInvalid(
                "the policy has one problem", [Problem(path="spec", code="too_large", message=message)]
            )
        namespace = self.metadata.namespace
        metadata = {"name": self.metadata.name, **({"namespace": namespace} if namespace else {})}
        kind = KIND if namespace else MESH_KIND
        return msgspec.json.encode(
            {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": msgspec.Raw(self.spec)}
        )
