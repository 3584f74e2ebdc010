"""A fuzzer's bytes as a program: choices, texts, JSON of the protocols' own words, and golden bodies with parts replaced.

So an input is mostly something that a reader goes on reading, and a small change of its bytes a small change of it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

GOLDEN = Path(__file__).parents[1] / "golden" / "formats"
WORDS = """
model stream messages role content type text thinking input output prompt system tools tool_calls function arguments
name choices delta message index finish_reason response part item usage done jsonrpc method params result id inputs
data predictions instances source content_block sequence_number output_index logprobs embedding images error b64
image_url url input_image input_audio file reasoning_content refusal partial_json content_index item_id summary
parameters response_format json_schema outputs shape datatype label score media_type context max_tokens n token_ids
""".split()  # noqa: SIM905
STRINGS = [
    *("user", "assistant", "tool", "text", "2.0", "message", "tool_use", "image", "image_url", "reasoning"),
    *("function_call", "message_start", "content_block_delta", "content_block_start", "content_block_stop"),
    *("response.output_text.delta", "response.completed", "text_delta", "input_json_delta", "BYTES", "FP32"),
    *(
        "jane@example.org",
        "4111 1111 1111 1111",
        '{"to": "b\\u006fb@example.org"}',
        '["x", 4111111111111111]',
    ),
    *("data:image/png;base64,iVBORw0KGgo=", "http://a.example/b.png", "\\ud83d\\ude00", "\u2028\x7f\u0000"),
]
_DEEPEST = 7
_ANY = 'a\u00e9\u732b\U0001f600\u200b"\\\n\r\t <>&{}[]:,/%=+-_.@0\x00\x1f\x7f\ufeff\uffff\u0301'

T = TypeVar("T")


class Program:
    """All zeros after its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return max(0, len(self._data) - self._at)

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def flag(self) -> bool:
        return self.byte() % 2 == 1

    def choice(self, among: Sequence[T]) -> T:
        return among[(self.byte() | self.byte() << 8 if len(among) > 256 else self.byte()) % len(among)]

    def take(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]

    def rest(self) -> bytes:
        return self.take(self.left)

    def text(self) -> str:
        """Words, odd characters, bytes as they are."""
        match self.byte() % 4:
            case 0:
                return self.choice(STRINGS)
            case 1:
                return "".join(_ANY[byte % len(_ANY)] for byte in self.take(self.byte() % 24))
            case 2:
                return self.take(self.byte()).decode("utf-8", "ignore")
        return self.choice(STRINGS) + self.text() if self.left else ""

    def value(self, depth: int = 0) -> Any:
        """JSON of any shape."""
        kind = self.byte() % 14
        if depth > _DEEPEST or not self.left:
            kind = 7 + kind % 7
        match kind:
            case 0 | 1 | 2 | 3:
                return {self._key(): self.value(depth + 1) for _ in range(self.byte() % 6)}
            case 4 | 5:
                return [self.value(depth + 1) for _ in range(self.byte() % 5)]
            case 6:
                return json.dumps(self.value(depth + 1), ensure_ascii=self.flag())
            case 7 | 8 | 9:
                return self.text()
            case 10:
                return self.byte() - 128
            case 11:
                return self.choice((10**6, 4111111111111111, 1e22, 0.5, -0.0, 10**30, 1.5e-7))
            case 12:
                return [self.byte() for _ in range(self.byte() % 20)]
        return self.choice((True, False, None))

    def _key(self) -> str:
        return self.text() if self.byte() % 8 == 0 else self.choice(WORDS)

    def golden(self, bodies: Sequence[Any]) -> Any:
        """One of these with up to seven of its values replaced, taken out, doubled, or put beside others."""
        value = copy.deepcopy(self.choice(bodies))
        for _ in range(self.byte() % 8):
            holders = [(holder, key) for holder in _holders(value) for key in _keys(holder)]
            if not holders:
                break
            holder, key = self.choice(holders)
            match self.byte() % 6:
                case 0:
                    del holder[key]
                case 1 if isinstance(holder, list):
                    holder.insert(key, copy.deepcopy(holder[key]))
                case 2 if isinstance(holder, dict):
                    holder[self._key()] = self.value(4)
                case 3:
                    holder[key] = [holder[key]]
                case _:
                    holder[key] = self.value(3)
        return value

    def written(self, value: Any) -> bytes:
        """JSON with or without escapes and blanks that are not needed."""
        how = self.byte()
        text = json.dumps(value, ensure_ascii=how % 2 == 0, indent=1 if how % 8 == 1 else None)
        if how % 5 == 0:
            text = text.replace("a", "\\u0061")  # in keys and values alike
        return text.encode("utf-8", "surrogatepass")


def _holders(value: Any) -> list[Any]:
    found, stack = [], [value]
    while stack:
        here = stack.pop()
        if isinstance(here, dict | list):
            found.append(here)
            stack.extend(here.values() if isinstance(here, dict) else here)
    return found


def _keys(holder: Any) -> list[Any]:
    return list(holder) if isinstance(holder, dict) else list(range(len(holder)))


@cache
def golden_bodies(protocol: str, kind: str) -> tuple[Any, ...]:
    """Requests or answers of one protocol; of one that has none those of all."""
    found = sorted(GOLDEN.glob(f"{protocol}/*/{kind}.json")) or sorted(GOLDEN.glob(f"*/*/{kind}.json"))
    return tuple(json.loads(file.read_bytes()) for file in found)


@cache
def golden_events(protocol: str) -> tuple[Any, ...]:
    """The events of one protocol's golden streams."""
    found: list[Any] = []
    for file in sorted(GOLDEN.glob(f"{protocol}/*/stream.*")):
        if file.suffix in {".sse", ".ndjson"}:
            lines = [line.removeprefix(b"data:").strip() for line in file.read_bytes().splitlines()]
            found += [json.loads(line) for line in lines if line.startswith(b"{")]
    return tuple(found)
