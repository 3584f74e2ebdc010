"""A policy, and bundles of it that a sidecar must refuse while version NOW is in force."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from bartizan.policy.canonical import canonical
from protos.gen.bartizan.policy.v1 import policy_pb2
from tests.support.local_sidecar import LocalSidecar, new_signer

POLICY = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {name: bundles}
spec:
  selector: {matchLabels: {app: bundles}}
  listener: {address: 127.0.0.1, port: {port}, tls: none}
  model: {name: fields, protocol: json_fields, port: {model}}
  routes: [{path: /predict, inputText: [$.text]}]
  tenants: [acme]
  authn: {apiKeys: {set: keys}}
  input: [{promptInjection: {}}]
"""
OPEN = POLICY.replace("  input: [{promptInjection: {}}]\n", "")
NOW = 10
"""The version that is in force while others are refused."""


def flipped(sidecar: LocalSidecar) -> policy_pb2.SignedBundle:
    message = sidecar.signed(NOW + 1, OPEN)
    message.payload = message.payload.replace(b"acme", b"evil")
    return message


def signed_over_another_payload(sidecar: LocalSidecar) -> policy_pb2.SignedBundle:
    message = sidecar.signed(NOW + 1)
    message.payload = canonical(sidecar.compiled(NOW + 1, OPEN))
    return message


def signed_by_a_stranger(sidecar: LocalSidecar) -> policy_pb2.SignedBundle:
    return sidecar.signed(NOW + 1, OPEN, new_signer())


def signed_by_a_stranger_under_our_key_id(sidecar: LocalSidecar) -> policy_pb2.SignedBundle:
    message = signed_by_a_stranger(sidecar)
    message.key_id = sidecar.signer.key_id
    return message


def unsigned(sidecar: LocalSidecar) -> policy_pb2.SignedBundle:
    message = sidecar.signed(NOW + 1, OPEN)
    message.ClearField("signature")
    return message


def under_another_name(sidecar: LocalSidecar) -> policy_pb2.SignedBundle:
    message = sidecar.signed(NOW + 1, OPEN)
    message.name = "default/other"
    return message


def older(sidecar: LocalSidecar) -> policy_pb2.SignedBundle:
    return sidecar.signed(NOW - 1, OPEN)


def same_version_other_payload(sidecar: LocalSidecar) -> policy_pb2.SignedBundle:
    return sidecar.signed(NOW, OPEN)


def same_version_unloadable(sidecar: LocalSidecar) -> policy_pb2.SignedBundle:
    document = json.loads(canonical(sidecar.compiled(NOW)))
    document["plan"]["tenants"] = []
    return sidecar.sign(canonical(document))


def altered(**changes: Any) -> Callable[[LocalSidecar], policy_pb2.SignedBundle]:
    """Properly signed, but by a newer or broken compiler."""

    def make(sidecar: LocalSidecar) -> policy_pb2.SignedBundle:
        document = json.loads(canonical(sidecar.compiled(NOW + 1, OPEN)))
        return sidecar.sign(canonical({**document, **changes}))

    return make


def broken_envoy_part(sidecar: LocalSidecar) -> policy_pb2.SignedBundle:
    document = json.loads(canonical(sidecar.compiled(NOW + 1, OPEN)))
    document["envoy"]["routes"][0]["virtual_hosts"][0]["domains"] = ["*", "*"]
    return sidecar.sign(canonical(document))


def plan_of_another_version(sidecar: LocalSidecar) -> policy_pb2.SignedBundle:
    document = json.loads(canonical(sidecar.compiled(NOW + 1, OPEN)))
    document["plan"]["id"] = "1.99"
    return sidecar.sign(canonical(document))


def unloadable_plan(sidecar: LocalSidecar) -> policy_pb2.SignedBundle:
    document = json.loads(canonical(sidecar.compiled(NOW + 1, OPEN)))
    document["plan"]["tenants"] = []
    return sidecar.sign(canonical(document))
