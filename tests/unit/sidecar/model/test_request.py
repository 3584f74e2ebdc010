"""A request's id is its trace where Envoy has no tracer: a UUID as Envoy writes it, and nothing else."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.request import trace_of

DIGITS = "4bf92f3577b34da6a3ce929d0e0e4736"


@given(st.uuids())
def test_an_id_of_envoys_is_the_trace(drawn: uuid.UUID) -> None:
    assert trace_of(str(drawn)) == drawn.hex


OTHERS = {
    "nothing": "",
    "a hyphen": "-",
    "capitals": DIGITS.upper(),
    "31 digits": DIGITS[1:],
    "30 digits": DIGITS[2:],
    "33 digits": DIGITS + "0",
    "34 digits": DIGITS + "00",
    "a letter": DIGITS[1:] + "g",
    "a space": DIGITS[1:] + " ",
    "a sign of a number": "0x" + DIGITS[2:],
    "an underscore": DIGITS[1:] + "_",
    "an end of a line": DIGITS + "\n",
    "another script's digit": DIGITS[1:] + "\N{ARABIC-INDIC DIGIT THREE}",
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_anything_else_is_none(other: str) -> None:
    assert trace_of(other) == ""
