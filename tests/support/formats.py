"""Formats of one small plan, and what they make of a body."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bartizan.policy.bundle import GuardModel, GuardPlan
from bartizan.policy.schema import Protocol, Route
from sidecar.formats.base import Format, FormatError
from sidecar.formats.catalog import build_format
from sidecar.model.decision import Cause

JSON = "application/json"
ROUTES = (
    Route(
        path="/predict", input_text=("$.text",), output_text=("$.echo",), output_scores=("$.probabilities",)
    ),
    Route(path="/batch", input_text=("$.items[*].text", "$.head[0]")),
)


def make(protocol: Protocol) -> Format:
    model = GuardModel(name="m", protocol=protocol)
    return build_format(
        GuardPlan(id="1.1", policy="a/b", revision=1, model=model, tenants=("t",), routes=ROUTES)
    )


def texts(protocol: Protocol, body: Any, path: str = "/v1/chat/completions") -> dict[str, str]:
    document = make(protocol).decode_request(path, JSON, json.dumps(body).encode())
    return {part.location: part.text for part in document.texts()}


def refusal(
    protocol: Protocol,
    body: Any,
    *,
    path: str = "/v1/chat/completions",
    answer: bool = False,
    kind: str = JSON,
) -> Cause:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    form = make(protocol)
    with pytest.raises(FormatError) as error:
        (form.decode_answer if answer else form.decode_request)(path, kind, data)
    return error.value.cause
