"""A note of a decision is encoded as its record is."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bartizan.policy import names
from sidecar.audit.note import Note, case_of, encode
from sidecar.audit.record import Record

HEX = st.text("0123456789abcdef", min_size=1, max_size=32)
ODD = st.text(max_size=8)


@st.composite
def records(draw: st.DrawFn) -> Record:
    """What a head's check may leave, and texts that it never has."""
    return Record(
        id=draw(HEX) + draw(st.sampled_from(["", names.RECORD_HEAD])),
        time=draw(st.floats(0, 2e9) | st.just(1_796_093_084.0)),
        policy=draw(ODD),
        revision=draw(ODD),
        source="guard",
        phase=draw(st.sampled_from(["authn", "admission", "authz", "guard"])),
        action=draw(st.sampled_from(["allow", "deny"])),
        cause=draw(ODD),
        status=draw(st.sampled_from([0, 401])),
        path=draw(ODD),
        tenant=draw(ODD),
        detail=draw(ODD),
        shadow=draw(st.booleans()),
        trace_id=draw(st.just("") | HEX),
        source_address=draw(st.sampled_from(["", "203.0.113.0/24", "2001:db8:1::/48"])),
        instance_id=draw(ODD),
    )


@given(records())
def test_a_note_is_encoded_as_its_record(record: Record) -> None:
    bare = msgspec.structs.replace(record, id="", time=0.0, trace_id="", source_address="")
    note = Note(
        case=case_of(bare),
        id=record.id,
        time=record.time,
        trace_id=record.trace_id,
        source_address=record.source_address,
    )
    assert note.record == record
    assert note.encoded() == encode(record)
