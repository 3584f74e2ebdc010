"""What a request asks of the engine beside its text: bounds and counts, and patterns or schemas that guide decoding.

Tables say where each protocol has them. A name that a table gives is the policy's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

Path = tuple[str | int, ...]
"""As in json_text.py, which imports what imports this."""
EACH = "*"
"""As a step: every element of a list."""
GUIDE = "guide"
"""As a name: a schema, or a pattern."""
Table = Sequence[tuple[tuple[str, ...], str]]

OPENAI: Table = (
    (("max_tokens",), "maxTokens"),
    (("max_completion_tokens",), "maxTokens"),
    (("max_output_tokens",), "maxTokens"),
    (("n_predict",), "maxTokens"),  # llama.cpp takes its own names for more than OpenAI's
    (("n",), "n"),
    (("n_cmpl",), "n"),
    (("best_of",), "bestOf"),
    (("logprobs",), "logprobs"),
    (("top_logprobs",), "logprobs"),
    (("prompt_logprobs",), "logprobs"),
    (("n_probs",), "logprobs"),
    (("include",), "included"),
    # vLLM, SGLang, TGI and llama.cpp
    (("guided_regex",), "pattern"),
    (("guided_whitespace_pattern",), "pattern"),
    (("grammar",), "pattern"),
    (("guided_grammar",), "pattern"),
    (("regex",), "pattern"),
    (("ebnf",), "pattern"),
    (("structured_outputs", "regex"), "pattern"),
    (("structured_outputs", "grammar"), "pattern"),
    (("structured_outputs", "whitespace_pattern"), "pattern"),
    (("response_format", "grammar"), "pattern"),
    (("tools", EACH, "custom", "format", "grammar", "definition"), "pattern"),
    (("tools", EACH, "format", "definition"), "pattern"),
    (("guided_json",), "schema"),
    (("guided_choice",), "schema"),
    (("json_schema",), "schema"),
    (("structured_outputs", "json"), "schema"),
    (("structured_outputs", "choice"), "schema"),
    (("response_format", "json_schema", "schema"), "schema"),
    (("response_format", "schema"), "schema"),
    (("response_format", "value"), GUIDE),
    (("text", "format", "schema"), "schema"),
    (("structural_tag",), "schema"),
    (("structured_outputs", "structural_tag"), "schema"),
    (("response_format", "structures"), "schema"),
    (("response_format", "format"), "schema"),
    (("tools", EACH, "function", "parameters"), "schema"),
    (("tools", EACH, "parameters"), "schema"),
    (("functions", EACH, "parameters"), "schema"),
)
ANTHROPIC: Table = (
    (("max_tokens",), "maxTokens"),
    (("thinking", "budget_tokens"), "maxTokens"),
    (("tools", EACH, "input_schema"), "schema"),
    (("output_format", "schema"), "schema"),
    (("output_config", "format", "schema"), "schema"),
)
OLLAMA: Table = (
    (("options", "num_predict"), "maxTokens"),
    (("logprobs",), "logprobs"),
    (("top_logprobs",), "logprobs"),
    (("format",), "schema"),
    (("tools", EACH, "function", "parameters"), "schema"),
)


class Parameter(msgspec.Struct, frozen=True, gc=False):
    """One of them: where it stands, what the policy calls it, and its JSON value, never null."""

    path: Path
    name: str
    value: Any


def parameters(value: dict[str, Any], table: Table) -> list[Parameter]:
    """Those that a request has."""
    return [
        Parameter(path, _kind(found) if name == GUIDE else name, found)
        for steps, name in table
        for path, found in _resolve(value, steps, ())
    ]


def _kind(guide: Any) -> str:
    """What a member is that may hold either."""
    return "pattern" if isinstance(guide, str) and guide.lstrip()[:1] != "{" else "schema"


def _resolve(value: Any, steps: tuple[str, ...], path: Path) -> Iterator[tuple[Path, Any]]:
    if not steps:
        if value is not None:
            yield path, value
        return
    step, *rest = steps
    if step == EACH:
        for index, item in enumerate(value if isinstance(value, list) else ()):
            yield from _resolve(item, tuple(rest), (*path, index))
    elif isinstance(value, dict) and step in value:
        yield from _resolve(value[step], tuple(rest), (*path, step))
