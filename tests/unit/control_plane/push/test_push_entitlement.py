"""One sidecar gets the one policy that selects it, whole or not at all; what an unproven change leaves behind stays current."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bartizan.errors import InvalidInput
from bartizan.policy.canonical import canonical, plan_hash
from bartizan.policy.validate import dump_policy, parse_policy
from bartizan.xds.snapshot import Publication, Resources
from control_plane.compile.bundle import compile_bundle
from control_plane.fleet.proof import Instance, Wanted
from control_plane.policies.revisions import document_of
from control_plane.push.entitlement import Entitlement, Published, entitlement, published
from control_plane.push.subscriber import Subscriber
from control_plane.store.base import PublicationRow
from protos.gen.bartizan.policy.v1 import policy_pb2

HERE = Instance(instance_id="i", spiffe_id="spiffe://t/ns/prod/sa/x", namespace="prod", labels={"app": "a"})

DOCUMENT = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {name: p, namespace: prod}
spec:
  selector: {matchLabels: {app: a}}
  listener: {tls: none}
  model: {name: m, protocol: openai, credential: {secret: s, prefix: "Bearer "}}
  tenants: [t]
  authn: {apiKeys: {set: k}}
"""


def policy(
    name: str,
    *,
    app: str = "a",
    namespace: str = "prod",
    version: int = 1,
    key_set: str = "k",
    requires: str = "",
) -> Published:
    return Published(
        wanted=Wanted(
            policy=f"{namespace}/{name}",
            namespace=namespace,
            match_labels={"app": app},
            version=version,
            revision=1,
            plan_hash="h",
            requires=frozenset({requires} - {""}),
        ),
        bundle=Resources(f"{namespace}/{name}@{version}", {}),
        key_set=key_set,
        secrets={f"{name}-secret": ""},
    )


@pytest.mark.parametrize(
    ("policies", "capabilities", "bundles", "key_sets"),
    [
        ([], [], set(), set()),
        ([policy("p", app="b"), policy("p", namespace="dev")], [], set(), set()),
        ([policy("p"), policy("q", app="b")], [], {"prod/p"}, {"k"}),
        ([policy("p", key_set="")], [], {"prod/p"}, set()),
        ([policy("p", requires="x")], [], {"prod/p"}, {"k"}),  # nothing announced yet
        ([policy("p", requires="x")], ["x", "y"], {"prod/p"}, {"k"}),
        ([policy("p", requires="x")], ["y"], set(), {"k"}),
        ([policy("p"), policy("q")], [], set(), set()),  # ambiguous: deny rather than guess
    ],
)
def test_who_gets_what(
    policies: list[Published], capabilities: list[str], bundles: set[str], key_sets: set[str]
) -> None:
    found = entitlement(HERE, policies, frozenset(capabilities))
    assert (set(found.bundles), set(found.key_sets)) == (bundles, key_sets)
    assert found.secrets == ({"p-secret"} if key_sets or bundles else set())


def test_what_an_unproven_change_leaves_behind_is_kept_until_it_is_proven() -> None:
    subscriber = Subscriber(instance=HERE, publication=Publication())
    old, new = policy("p", key_set="old"), policy("p", key_set="new", version=2)
    subscriber.entitle(Entitlement(policy=old), 0)
    subscriber.entitle(Entitlement(policy=new), 1)
    assert subscriber.key_sets == {"old", "new"}
    subscriber.entitle(Entitlement(policy=new), 2)
    assert subscriber.key_sets == {"new"}
    subscriber.entitle(Entitlement(policy=replace(old, wanted=policy("q").wanted)), 2)
    assert subscriber.key_sets == {"old"}
    subscriber.entitle(Entitlement(), 2)
    assert (subscriber.key_sets, subscriber.secrets) == (frozenset(), {})


def row_of(text: str) -> tuple[PublicationRow, str]:
    authored = parse_policy(text)
    bundle = compile_bundle(authored, revision=3, version=7, issued_at="2026-01-01T00:00:00+00:00")
    message = policy_pb2.SignedBundle(name="prod/p", payload=canonical(bundle))
    row = PublicationRow(
        policy="prod/p",
        version=7,
        revision=3,
        bundle=message.SerializeToString(deterministic=True),
        key_id="",
        plan_hash=plan_hash(bundle.plan),
        published_at=0.0,
        published_by="",
    )
    return row, document_of(dump_policy(authored))


def test_a_stored_publication_says_all_that_is_needed() -> None:
    row, document = row_of(DOCUMENT)
    found = published(row, document)
    assert found.wanted.match_labels == {"app": "a"}
    assert (found.wanted.version, found.wanted.revision, found.wanted.plan_hash) == (7, 3, row.plan_hash)
    assert (found.key_set, dict(found.secrets)) == ("k", {"s": "Bearer "})
    assert found.bundle.version == "prod/p@7"
    no_text = policy_pb2.SignedBundle(name="prod/p", payload=b'{"policy": "\xff"}').SerializeToString()
    for broken in (replace(row, bundle=b"\xff\xff"), replace(row, bundle=no_text), row):
        with pytest.raises(InvalidInput, match="can't be read"):
            published(broken, "{}")
