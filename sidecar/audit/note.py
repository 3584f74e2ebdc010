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
_TIME, _ADDRESS = '","time":', '","source_address":"'


class Case(Value, frozen=True, kw_only=True):
    """All decisions that differ in nothing else. `record` has none of what is each one's own; `around` is its JSON up to the id,
    from the time to the trace, and from the address on.
    """

    record: Record
    around: tuple[bytes, bytes, bytes]


def case_of(record: Record) -> Case:
    """The case of a record without id, time, trace and address."""
    like = msgspec.structs.replace(record, id=_ANY_ID, trace_id=_ANY_TRACE, source_address="a")
    before, rest = encode(like).split(f"{_ANY_ID}{_TIME}0.0".encode())
    between, after = rest.split(f"{_ANY_TRACE}{_ADDRESS}a".encode())
    return Case(record=record, around=(before, between, after))


class Note(Value, frozen=True, kw_only=True):
    """One decision of a case."""

    case: Case
    id: str
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
        if not (trace_id and address and self.id.isalnum()):  # left out then, or written otherwise
            return encode(self.record)
        before, between, after = self.case.around
        first, second = f"{self.id}{_TIME}".encode(), f"{trace_id}{_ADDRESS}{address}".encode()
        return b"".join((before, first, encode(self.time), between, second, after))
