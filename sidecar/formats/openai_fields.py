"""What fields of OpenAI bodies hold, one table for whole answers and streams. A field that is not in it is text."""

from __future__ import annotations

import re
from collections.abc import Container
from enum import Enum, auto
from typing import Any

from sidecar.formats.same_shape import PADDING


class Holds(Enum):
    """TEXT: what the model says. ENGINE: what the engine says of itself. UNREADABLE: text in a form that no check reads."""

    TEXT = auto()
    ENGINE = auto()
    UNREADABLE = auto()


FIELDS: dict[str, Holds] = {
    **dict.fromkeys(("content", "reasoning_content", "reasoning", "refusal"), Holds.TEXT),
    # Ids and fingerprints look like numbers of cards and phones.
    **dict.fromkeys(("id", "object", "model", "system_fingerprint", "service_tier"), Holds.ENGINE),
    **dict.fromkeys(("call_id", "item_id", "tool_call_id", "tool_use_id", "response_id"), Holds.ENGINE),
    **dict.fromkeys(("previous_response_id", "approval_request_id", "container_id"), Holds.ENGINE),
    **dict.fromkeys(("created", "created_at", "expires_at", "index"), Holds.ENGINE),
    **dict.fromkeys(("finish_reason", "role", "type"), Holds.ENGINE),
    # They repeat the text token by token, and would undo every redaction of it.
    **dict.fromkeys(("logprobs", "prompt_logprobs", "top_logprobs", "completion_probabilities"), Holds.UNREADABLE),
    **dict.fromkeys(("token_ids", "prompt_token_ids", "output_token_ids", "output_ids"), Holds.UNREADABLE),
    **dict.fromkeys(("input_token_logprobs", "output_token_logprobs", "token_logprobs"), Holds.UNREADABLE),
    **dict.fromkeys(("hidden_states",), Holds.UNREADABLE),
}  # fmt: skip
TEXTS = tuple(key for key, holds in FIELDS.items() if holds is Holds.TEXT)
UNREADABLE = frozenset(key for key, holds in FIELDS.items() if holds is Holds.UNREADABLE)
_ENGINE = frozenset(key for key, holds in FIELDS.items() if holds is Holds.ENGINE)

IDS = frozenset(key for key in FIELDS if key == "id" or key.endswith("_id"))
"""Members that say what belongs together: what a check would edit there is refused."""

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})

_WORDS = """
messages prompt input suffix model role content name type id text tool_calls tool_call_id tool_choice function
function_call arguments index refusal reasoning reasoning_content audio error message code param object data
choices finish_reason stop_reason usage created created_at owned_by root permission parent max_model_len
temperature top_p top_k min_p n stream stream_options include_usage stop max_tokens max_completion_tokens seed user
frequency_penalty presence_penalty repetition_penalty logit_bias logprobs top_logprobs echo best_of metadata store
parallel_tool_calls reasoning_effort service_tier dimensions encoding_format response_format modalities query
add_generation_prompt continue_final_message skip_special_tokens ignore_eos min_tokens stop_token_ids verbosity
description parameters properties required items enum default title format pattern minimum maximum strict schema
json_schema additionalProperties anyOf oneOf allOf const minItems maxItems minLength maxLength $schema $defs $ref
prompt_tokens completion_tokens total_tokens cached_tokens audio_tokens reasoning_tokens input_tokens output_tokens
prompt_tokens_details completion_tokens_details input_tokens_details output_tokens_details
accepted_prediction_tokens rejected_prediction_tokens queue_time prompt_time completion_time total_time
embedding embeddings output status call_id instructions max_output_tokens tools incomplete_details annotations
summary encrypted_content previous_response_id results flagged categories category_scores
thinking done done_reason options num_predict num_ctx images keep_alive think raw
"""
WORDS = frozenset((*_WORDS.split(), *FIELDS))
"""Keys that the protocol itself names: nobody says anything with them."""

PART_TEXTS = ("text", "refusal", "thinking")
MEDIA = {
    "image_url": ("image_url",),
    "input_image": ("image_url", "file_id"),
    "image": ("image", "image_url"),
    "image_embeds": ("image_embeds",),
    "input_audio": ("input_audio",),
    "audio_url": ("audio_url",),
    "video_url": ("video_url",),
    "file": (),
    "input_file": (),
}
"""Parts that are not text, and the members of them that are not looked at."""
CALLS = frozenset({"function_call", "custom_tool_call", "mcp_call"})
TYPES = frozenset(
    {"text", "input_text", "output_text", "summary_text", "reasoning_text", *PART_TEXTS, *MEDIA}
    | {"message", "function", "custom", *CALLS}
)

_SHAPE = re.compile(r"[A-Za-z0-9_.:/+\-]{0,128}")
_MOMENT = 10**11
BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


def engines_own(key: str, value: Any) -> bool:
    """Whether this member is the engine's and looks like it: with spaces or an at-sign it is text after all."""
    return key in _ENGINE and (shaped(value) or (isinstance(value, int) and 0 <= value < _MOMENT))


def shaped(value: Any) -> bool:
    """Whether it is an identifier."""
    return isinstance(value, str) and _SHAPE.fullmatch(value) is not None


def padding(value: Any) -> bool:
    """Whether it is what engines pad an event of a stream with (`obfuscation`)."""
    return isinstance(value, str) and PADDING.fullmatch(f'"{value}"'.encode("utf-8", "replace")) is not None


def unread(value: dict[str, Any], known: Container[str]) -> dict[str, Any]:
    """Members of a part of an answer that are neither `known` to its reader nor the engine's own."""
    return {
        key: item
        for key, item in value.items()
        if key not in known and not (key in FIELDS and (item is None or engines_own(key, item)))
    }


def is_item(kind: Any) -> bool:
    """Whether an item of this type is read apart from messages."""
    return isinstance(kind, str) and (
        kind in CALLS or kind == "reasoning" or (kind.endswith("_output") and shaped(kind))
    )


def is_vector(value: Any) -> bool:
    """Numbers, or their bytes in base64, in which no text is looked for."""
    if isinstance(value, str):
        return len(value) % 4 == 0 and BASE64.fullmatch(value) is not None
    return isinstance(value, list) and all(type(item) in (int, float) for item in value)
