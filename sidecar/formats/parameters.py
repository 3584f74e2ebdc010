"""What a request asks of the engine beside its text: bounds and counts, and patterns or schemas that guide decoding.

Tables say where each protocol has them. A name that a table gives is the policy's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

Path = tuple[str | int, ...]
"""As in json_text.py, which imports what imports this."""
EACH = "*"
"""As a step: every element of a list."""
GUIDE = "guide"
"""As a name: a schema, or a pattern."""
ENGINE = "engineOptions"
"""As a name: how the engine loads, places, keeps or schedules, which is its operator's to say."""
_Entries = Sequence[tuple[tuple[str, ...], str]]
Table = Mapping[str, _Entries]
"""Ways and names by the member where a way begins: a body has few members, and tables are long."""

_OF_A_LOADED_MODEL = (
    *("num_batch", "num_gpu", "main_gpu", "num_thread", "use_mmap", "use_mlock", "numa", "low_vram"),
    *("f16_kv", "logits_all", "vocab_only"),
)
"""Ollama's: another value than that of the loaded model makes it load anew, while everybody waits."""


def _by_member(*entries: tuple[tuple[str, ...], str]) -> Table:
    made: dict[str, _Entries] = {}
    for steps, name in entries:
        made[steps[0]] = (*made.get(steps[0], ()), (steps, name))
    return made


_OF_AN_ENGINE: _Entries = tuple(
    ((member,), ENGINE)
    for member in (
        # vLLM: who is served first, where from keys and values come, what pictures become, code by its name
        *("priority", "kv_transfer_params", "mm_processor_kwargs", "media_io_kwargs", "vllm_xargs"),
        "logits_processors",
        # SGLang: code, other hosts, other weights
        *("custom_logit_processor", "bootstrap_host", "bootstrap_port", "bootstrap_room", "lora_path"),
        "data_parallel_rank",
        # llama.cpp: behind whose request one waits; which adapters answer, for which nobody else's request joins the
        # batch; how much is drafted in vain
        *("id_slot", "lora"),
        *(f"speculative.{member}" for member in ("n_max", "n_min", "p_min", "type")),
        *(f"speculative.ngram_{member}" for member in ("size_n", "size_m", "m_hits")),
    )
)

OPENAI: Table = _by_member(
    (("max_tokens",), "maxTokens"),
    (("max_completion_tokens",), "maxTokens"),
    (("max_output_tokens",), "maxTokens"),
    (("n_predict",), "maxTokens"),  # llama.cpp takes its own names for more than OpenAI's
    (("min_tokens",), "maxTokens"),  # vLLM and SGLang: so many come even if the model would end before
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
    *_OF_AN_ENGINE,
)
ANTHROPIC: Table = _by_member(
    (("max_tokens",), "maxTokens"),
    (("thinking", "budget_tokens"), "maxTokens"),
    (("tools", EACH, "input_schema"), "schema"),
    (("output_format", "schema"), "schema"),
    (("output_config", "format", "schema"), "schema"),
    *_OF_AN_ENGINE,  # vLLM takes kv_transfer_params here, too
)
OLLAMA: Table = _by_member(
    (("options", "num_predict"), "maxTokens"),
    (("options", "num_ctx"), "contextTokens"),
    (("logprobs",), "logprobs"),
    (("top_logprobs",), "logprobs"),
    (("format",), "schema"),
    (("tools", EACH, "function", "parameters"), "schema"),
    (("keep_alive",), ENGINE),  # 0 unloads the model under everybody, -1 keeps it for ever
    *((("options", option), ENGINE) for option in _OF_A_LOADED_MODEL),
)
JSON_FIELDS: Table = _by_member(
    # llama.cpp's own paths, and Triton's generate extension
    (("n_predict",), "maxTokens"),
    (("max_tokens",), "maxTokens"),
    (("min_tokens",), "maxTokens"),
    (("n_cmpl",), "n"),
    (("beam_width",), "bestOf"),
    (("n_probs",), "logprobs"),
    (("top_logprobs_num",), "logprobs"),
    (("grammar",), "pattern"),
    (("json_schema",), "schema"),
    # TGI and Triton; SGLang
    *(
        ((*group, member), name)
        for group in (("parameters",), ("sampling_params",), ("sampling_params", EACH))
        for member, name in (
            *((member, "maxTokens") for member in ("max_tokens", "max_new_tokens")),
            *((member, "maxTokens") for member in ("min_tokens", "min_new_tokens")),
            *(("n", "n"), ("best_of", "bestOf"), ("beam_width", "bestOf")),
            *(("logprobs", "logprobs"), ("top_n_tokens", "logprobs"), ("prompt_logprobs", "logprobs")),
            *(("regex", "pattern"), ("ebnf", "pattern"), ("json_schema", "schema")),
        )
    ),
    (("parameters", "grammar", "value"), GUIDE),
    (("parameters", "adapter_id"), ENGINE),  # TGI: which adapter answers
    *_OF_AN_ENGINE,
)
"""Of engines' own paths; a classic model has none of them."""


class Parameter(msgspec.Struct, frozen=True, gc=False):
    """One of them: where it stands, what the policy calls it, and its JSON value, never null."""

    path: Path
    name: str
    value: Any


def parameters(value: dict[str, Any], table: Table) -> list[Parameter]:
    """Those that a request has."""
    return [
        Parameter(path, _kind(found) if name == GUIDE else name, found)
        for member in value
        if member in table
        for steps, name in table[member]
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
