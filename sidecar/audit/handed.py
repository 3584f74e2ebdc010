"""Who called, and by which decision, as the guard told Envoy with its answer: for records of what Envoy did with a request
that was let through.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from bartizan.policy import names
from protos.gen.envoy.data.accesslog.v3 import accesslog_pb2
from sidecar.audit.evidence import subject_hash


class _Identity(msgspec.Struct, frozen=True):
    tenant: str
    subject: str
    key_id: str = ""


class _Handed(msgspec.Struct, frozen=True):
    """A part of wire/translate_check.py's Handed."""

    tenant: str = ""
    key_id: str = ""
    identity: _Identity | None = None


class Caller(NamedTuple):
    """As records name it."""

    tenant: str = ""
    key_id: str = ""
    subject_hash: str = ""


_decode = msgspec.json.Decoder(_Handed).decode


def let_through(entry: accesslog_pb2.HTTPAccessLogEntry) -> Caller:
    """Nobody where no guard let it through. A subject is known where bodies or answers are read."""
    said = _said(entry, names.HANDED)
    try:
        handed = _decode(said) if said else _Handed()
    except msgspec.MsgspecError:
        handed = _Handed()
    if (identity := handed.identity) is None:
        return Caller(handed.tenant, handed.key_id)
    return Caller(identity.tenant, identity.key_id, subject_hash(identity.subject))


def decision_of(entry: accesslog_pb2.HTTPAccessLogEntry) -> str:
    """The guard's id of it; "" where it was not asked."""
    return _said(entry, "decision_id")


def _said(entry: accesslog_pb2.HTTPAccessLogEntry, name: str) -> str:
    metadata = entry.common_properties.metadata.filter_metadata.get(names.AUTHZ_METADATA)
    said = None if metadata is None else metadata.fields.get(name)
    return "" if said is None else said.string_value
