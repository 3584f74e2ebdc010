"""Judges the tool calls of an answer (OpenAI, Responses, Anthropic, Ollama): listed names only, arguments by the tool's schema.

A streamed name is judged as it comes; arguments with a schema are kept until they are complete. L is MAX_WHOLE.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from bartizan.policy.bounded_schema import BoundedSchema
from bartizan.policy.checks import Tools
from sidecar.checks.base import WholeCheck
from sidecar.checks.spans import ACTIONS
from sidecar.checks.validators.whole import MAX_WHOLE, read_json
from sidecar.formats.streamed_json import as_json
from sidecar.model.finding import Action, Finding

_CALL = re.compile(
    r"(?P<call>choices\[\d+\]\.(?:message|delta)\.(?:tool_calls\[\d+\](?:'\d+)?|function_call)|message\.tool_calls\[\d+\]"
    r"|content\[\d+\](?=\.(?:name|input|partial_json))"
    r"|(?:response\.)?output\[\d+\](?:\.(?:item|added|again))?(?=\.(?:name|arguments|input)(?:#|\Z))"
    r"|output\[\d+\]\.response\.(?:function_call_arguments|mcp_call_arguments|custom_tool_call_input)\[\d+, \d+\])"
    r"(?:\.(?P<kind>function|custom))?(?:\.(?P<part>name|arguments|input|partial_json|delta|done))?(?P<inner>#.*)?"
)
_STREAMED = re.compile(
    r"\.delta\..*arguments|\.delta\.function_call|\.partial_json|_arguments\[\d+, \d+\]\.d"
)
"""Where the text is a view of JSON (sidecar/formats/streamed_json.py)."""


_Call = tuple[str, str | None]
"""Where it stands, and which of `function` and `custom`: a call with both is two, for nobody knows which one is made."""


class ToolsCheck:
    """WholeCheck over all calls of one answer."""

    name = "tools"

    def __init__(self, allow: frozenset[str], schemas: Mapping[str, dict[str, Any]], action: Action) -> None:
        self.action = action
        self._allow = allow
        self._schemas = {name: BoundedSchema(schema) for name, schema in schemas.items()}

    def reads(self, location: str) -> bool:
        call = _CALL.fullmatch(location)
        return call is not None and (call["part"] == "name" or bool(self._schemas))

    def holds(self, location: str) -> bool:
        call = _CALL.fullmatch(location)
        return bool(self._schemas) and call is not None and call["part"] != "name"

    def judge(self, texts: Mapping[str, str], *, complete: bool) -> list[Finding]:
        calls: dict[_Call, dict[str, str]] = defaultdict(dict)
        inner: set[_Call] = set()
        for location, text in texts.items():
            call = _CALL.fullmatch(location)
            if call is None:
                continue
            named = (call["call"], call["kind"])
            if call["inner"]:
                inner.add(named)
            else:
                streamed = _STREAMED.search(location)
                calls[named][call["part"] or "arguments"] = as_json(text) if streamed else text
        found = {
            Finding(check=self.name, kind=kind, action=self.action, location=call[0]): None
            for call in dict.fromkeys((*calls, *inner))
            for kind in self._kinds(calls.get(call, {}), complete=complete, odd=call in inner)
        }
        return list(found)

    def _kinds(self, call: Mapping[str, str], *, complete: bool, odd: bool) -> list[str]:
        name = call.get("name")
        if name is None:
            return ["tool_without_name"] if complete else []
        if name not in self._allow:
            return ["tool_not_allowed"]
        schema = self._schemas.get(name)
        if schema is None or not complete:
            return []
        said = [text for part, text in call.items() if part != "name" and text]
        if not said and odd:
            return ["tool_arguments"]  # an object in place of its text, which nobody listed as one
        fits = all(_fits(schema, text) for text in said or ("{}",))
        return [] if fits else ["tool_arguments"]


def _fits(schema: BoundedSchema, text: str) -> bool:
    known, value = read_json(text)
    return known and len(text) <= MAX_WHOLE and schema.admits(value)


def build(config: Tools) -> WholeCheck:
    return ToolsCheck(frozenset(config.allow), config.schemas, ACTIONS[config.action])
