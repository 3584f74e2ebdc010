"""Values made for each request: nobody who prints one shows what a client or the model said."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.checks.authn.base import Presented
from sidecar.model.events import (
    AnswerBody,
    AnswerData,
    AnswerHeaders,
    PassRequestBody,
    RequestBody,
    RequestHeaders,
)
from sidecar.model.request import RequestHead
from sidecar.model.value import Value

SAID = "canary-of-a-client"
VALUES: list[Value] = [
    RequestHead(stream_id="1", method="GET", path="/p", headers={"x": SAID}, source_address="::1"),
    RequestHeaders(method="GET", path="/p", headers={"x": SAID}, end=True),
    RequestBody(data=SAID.encode()),
    AnswerHeaders(status=200, headers={"x": SAID}, end=True),
    AnswerBody(data=SAID.encode(), end=True),
    AnswerData(data=SAID.encode(), end=True),
    PassRequestBody(data=SAID.encode()),
    Presented(api_keys=(SAID,), tokens=(SAID,)),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_what_was_said_is_not_shown(value: Value) -> None:
    assert SAID not in f"{value!r} {value!s} {[value]}"
    assert type(value).__name__ in repr(value)


def test_a_value_is_frozen() -> None:
    value: Any = RequestBody(data=b"")
    with pytest.raises(AttributeError):
        value.data = b"other"
