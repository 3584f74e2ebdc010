"""The reply that lets a caller on is kept but for its decision id: every call still gets its own."""

from __future__ import annotations

import secrets

import pytest
from google.protobuf.json_format import MessageToDict

from bartizan.policy import names
from protos.gen.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from sidecar.model.request import Identity
from sidecar.plan.probe import Probe
from sidecar.wire.trace import traceparent
from sidecar.wire.translate_check import (
    Handed,
    allow_reply,
    content_reply,
    handed_to_envoy,
    pass_reply,
    read_handed,
)

JANE = Identity(subject="jane", tenant="acme", method="jwt", models=("a", "b"))
JOHN = Identity(subject="john", tenant="acme", method="api_key", key_id="k")


@pytest.mark.parametrize("identity", [None, JANE, JOHN])
@pytest.mark.parametrize("probe", [None, Probe(nonce="00" * 16, phase="content")])
@pytest.mark.parametrize("address", ["", "203.0.113.9", "2001:db8::1"])
def test_every_call_gets_its_own_decision_and_its_own_caller(
    identity: Identity | None, probe: Probe | None, address: str
) -> None:
    for decision_id in (secrets.token_hex(16), secrets.token_hex(16), "short", "ü" * 16, '"' * 32):
        handed = Handed(
            decision_id=decision_id, revision="1.1", source_address=address, identity=identity, probe=probe
        )
        reply = CheckResponse.FromString(allow_reply(handed))
        assert read_handed(reply.dynamic_metadata) == handed
        assert reply.dynamic_metadata["decision_id"] == decision_id, "Envoy's local replies name it"
        (header,) = reply.ok_response.response_headers_to_add
        assert (header.header.key, header.header.value) == (names.HEADER_DECISION, decision_id)
        assert set(reply.ok_response.headers_to_remove) == {"authorization", "x-api-key"}
        assert MessageToDict(reply.status) == {}
        assert not reply.ok_response.headers


TRACES = ["9f0c1d2e3b4a4c5d8e6f708192a3b4c5", "00000000000040008000000000000000", "f" * 32]


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("decision_id", ["0123456789abcdef" * 2, "short"])
def test_the_model_and_ext_proc_are_told_each_requests_own_place_in_its_trace(
    decision_id: str, sampled: bool
) -> None:
    for trace_id in TRACES:
        place = traceparent(trace_id, sampled=sampled)
        handed = Handed(decision_id=decision_id, revision="1.1", identity=JANE)
        reply = CheckResponse.FromString(allow_reply(handed, place))
        (header,) = reply.ok_response.headers
        told = f"00-{trace_id}-{trace_id[:16]}-{'01' if sampled else '00'}"
        assert (header.header.key, header.header.value) == ("traceparent", told)
        assert (names.TRACED in reply.dynamic_metadata) is sampled, "what Envoy's access log asks for"
        read = read_handed(reply.dynamic_metadata)
        assert read is not None
        assert (read.decision_id, read.identity, read.traced) == (decision_id, JANE, sampled)


@pytest.mark.parametrize("identity", [None, JANE, JOHN])
@pytest.mark.parametrize(
    "place", ["", traceparent(TRACES[0], sampled=True), traceparent(TRACES[1], sampled=False)]
)
def test_the_short_ways_to_a_reply_say_the_same(identity: Identity | None, place: str) -> None:
    for decision_id in (secrets.token_hex(16), secrets.token_hex(16), "short"):
        plain = allow_reply(handed_to_envoy(decision_id, "1.1", identity), place)
        reply = CheckResponse.FromString(pass_reply(decision_id, "1.1", identity, place))
        assert reply == CheckResponse.FromString(plain)
        told = Handed(decision_id=decision_id, revision="1.1", source_address="::1", identity=identity)
        reply = CheckResponse.FromString(content_reply(decision_id, "1.1", "::1", identity, place))
        assert reply == CheckResponse.FromString(allow_reply(told, place))
