"""The arguments of a tool's call are JSON in a text: read without escapes, edited in place, JSON afterwards."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bartizan.policy.checks import Pii
from sidecar.checks.base import CheckSet
from sidecar.checks.content import inspect_document
from sidecar.checks.detectors import pii
from sidecar.formats.json_text import splice
from tests.unit.sidecar.formats.test_openai_reader import request


def arguments(text: str) -> dict[str, Any]:
    return {
        "messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": text}}]}]
    }


def redacted(text: str) -> str:
    document = request(arguments(text))
    inspect_document(document, CheckSet(texts=[pii.build(Pii(types=("email", "card")))]), shadow=False)
    said = json.loads(document.encode())
    found: str = said["messages"][0]["tool_calls"][0]["function"]["arguments"]
    return found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (r'{"to": "jane\u0040example.org", "n": 1}', '{"to": "[EMAIL]", "n": 1}'),
        (r'{"a": ["see\njane@example.org\n"]}', r'{"a": ["see\n[EMAIL]\n"]}'),
        ('{"card": 4111111111111111, "big": 1.50}', '{"card": "[CARD]", "big": 1.50}'),
        ('{"jane@example.org": {"x": 1}}', '{"[EMAIL]": {"x": 1}}'),
        ('"jane@example.org"', '"[EMAIL]"'),
        ("4111111111111111", '"[CARD]"'),
        (r"broken {jane\u0040example.org", "broken {[EMAIL]"),
        (r'{"x": "\u00e9"}', r'{"x": "\u00e9"}'),
        ("", ""),
    ],
)
def test_a_tool_calls_arguments_are_read_without_escapes_and_stay_json(before: str, after: str) -> None:
    assert redacted(before) == after


def test_a_redaction_across_the_structure_of_arguments_leaves_json() -> None:
    digits = '{"a": 4111, "b": "x"}'
    document = request(arguments(digits))
    whole = next(part for part in document.texts() if part.again)
    document.replace(whole.location, '{"a": [CARD]')
    said = json.loads(document.encode())["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(said) == "[REDACTED]"


def test_edits_inside_arguments_cost_one_splice_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    spliced: list[str] = []

    def counted(text: str, edits: Any) -> str:
        spliced.append(text)
        return splice(text, edits)

    monkeypatch.setattr("sidecar.formats.documents.splice", counted)
    mails = [f"u{number}@example.com" for number in range(50)]
    document = request(arguments(json.dumps(mails)))
    for part in list(document.texts()):
        if part.text in mails:
            document.replace(part.location, "[EMAIL]")
    said = json.loads(document.encode())["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(said) == ["[EMAIL]"] * 50
    assert len(spliced) == 2
