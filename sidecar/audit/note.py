"""A decision as it waits for the agent: every request leaves one, and but for its id, time, trace and address it is the same as
the last one of its case. So a case is made and encoded once. Pure.
"""

from __future__ import annotations

import secrets
from typing import Final

import msgspec

from sidecar.audit.record import Record
from sidecar.model.value import Value

encode: Final = msgspec.json.Encoder(order="deterministic").encode
# Nobody can know them, and so nothing else in a record can hold them.
_ANY_ID, _ANY_TRACE = secrets.token_hex(16), secrets.token_hex(16)
_TIME, _ADDRESS = b'","time":', b'","source_address":"'


class Case(Value, frozen=True, kw_only=True):
    """All decisions that differ in nothing else. `record` has none of what is each one's own; `around` is its JSON up to the id,
    from the time to the trace, and from the address on.
    """

    record: Record
    around: tuple[bytes, bytes, bytes]


def case_of(record: Record) -> Case:
    """The case of a record without id, time, trace and address."""
    like = msgspec.structs.replace(record, id=_ANY_ID, trace_id=_ANY_TRACE, source_address="a")
    before, rest = encode(like).split(_ANY_ID.encode() + _TIME + b"0.0")
    between, after = rest.split(_ANY_TRACE.encode() + _ADDRESS + b"a")
    return Case(record=record, around=(before, between, after))


class Note(Value, frozen=True, kw_only=True):
    """One decision of a case."""

    case: Case
    id: str
    """Hex digits, and one of names.RECORD_*: nothing that JSON writes otherwise."""
    time: float
    """Seconds since the epoch."""
    trace_id: str
    source_address: str
    """Truncated."""

    @property
    def record(self) -> Record:
        """All of it."""
        return msgspec.structs.replace(
            self.case.record,
            id=self.id,
            time=self.time,
            trace_id=self.trace_id,
            source_address=self.source_address,
        )

    def encoded(self) -> bytes:
        """The record's canonical JSON."""
        trace_id, address = self.trace_id, self.source_address
        if not (trace_id and address):  # left out then
            return encode(self.record)
        before, between, after = self.case.around
        return b"".join(
            (
                before,
                self.id.encode(),
                _TIME,
                encode(self.time),
                between,
                trace_id.encode(),
                _ADDRESS,
                address.encode(),
                after,
            )
        )
