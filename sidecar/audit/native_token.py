"""Requests that Envoy let in by itself as evidence: who called comes from the token that Envoy verified."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.struct_pb2 import Struct

from bartizan.policy import names
from bartizan.policy.schema import Jwt
from protos.gen.envoy.data.accesslog.v3 import accesslog_pb2
from sidecar.audit.evidence import subject_hash
from sidecar.audit.handed import Caller


def let_in(entry: accesslog_pb2.HTTPAccessLogEntry) -> bool:
    """Whether no guard was asked about this request."""
    found = entry.common_properties.metadata.filter_metadata.get(names.TOKEN_METADATA)
    return found is not None and _text(found, names.TOKEN_RESULT) == names.TOKEN_ALLOWED


def caller(entry: accesslog_pb2.HTTPAccessLogEntry, issuers: Mapping[str, Jwt]) -> Caller:
    """As the policy maps claims; nobody where it does no longer know the issuer."""
    found = entry.common_properties.metadata.filter_metadata.get(names.JWT_METADATA)
    payload = (
        found.fields["payload"].struct_value if found is not None and "payload" in found.fields else None
    )
    config = issuers.get(_text(payload, "iss")) if payload is not None else None
    if payload is None or config is None:
        return Caller()
    subject = _text(payload, config.claims.get("subject", "sub"))
    return Caller(
        tenant=_text(payload, config.claims.get("tenant", "")),
        subject_hash=subject_hash(f"{config.issuer}#{subject}"),
    )


def _text(values: Struct, name: str) -> str:
    return values.fields[name].string_value if name in values.fields else ""
