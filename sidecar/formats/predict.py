"""The prediction protocols of classic models: KServe v2 (Open Inference Protocol), and v1 with its relatives.

v1 is what KServe, TF-Serving and, on paths of their own, TorchServe and MLflow speak: any JSON. In both, every string
is text and every fraction of an answer a score; whole numbers and the numbers of a request are features, which no
check reads. https://github.com/kserve/open-inference-protocol, https://www.tensorflow.org/tfx/serving/api_rest
"""

from __future__ import annotations

import json
import math
from collections.abc import Container
from typing import Any, Literal

from sidecar.formats.answers import decode_model_json, error_document, readable
from sidecar.formats.base import FILE_DATA, SHARED_MEMORY, TENSOR, AnswerStream, Document, FormatError
from sidecar.formats.documents import ImageAt, JsonDocument, TextAt
from sidecar.formats.faults import MODEL_ERROR, take_traces
from sidecar.formats.identifiers import MAX_IDENTIFIER
from sidecar.formats.json_text import DEFAULT_DEPTH, KEY, Path, decode, location
from sidecar.formats.magic import looks_like_picture
from sidecar.formats.media_type import demand_json
from sidecar.formats.openai_fields import shaped
from sidecar.formats.scores import ScoreAt, placed, score_in
from sidecar.model.decision import Cause

_WORDS = """
id name names versions platform model_name model_version parameters inputs outputs shape datatype data error instances
predictions signature_name examples context results result content_type headers
classification binary_data binary_data_output binary_data_size
shared_memory_region shared_memory_byte_size shared_memory_offset live ready version extensions state status
error_code error_message model_version_status dataframe_split dataframe_records columns index
"""
WORDS = frozenset(_WORDS.split())
"""Keys that the protocols themselves name."""
_NAMES = frozenset({"id", "name", "datatype", "model_name", "model_version", "signature_name", "platform"})
"""Members that are identifiers where they look like it and where the protocol has them: a column may be called so, too."""
_B64 = "b64"
_SHARED = "shared_memory_region"


class PredictFormat:
    """JSON bodies of one of the two; `strict` is v2, whose bodies are objects with `inputs` and `outputs`."""

    def __init__(
        self, name: str, *, strict: bool, max_depth: int = DEFAULT_DEPTH, pictures: bool = False
    ) -> None:
        """`pictures`: strings of a request that begin like one are pictures, not text: a check looks at them."""
        self.name = name
        self._pictures = pictures
        self._strict = strict
        self._max_depth = max_depth

    def decode_request(self, path: str, content_type: str, body: bytes) -> Document:  # noqa: ARG002
        demand_json(content_type)
        text, value = decode(body, max_depth=self._max_depth, any_case=True)
        if self._strict and not (isinstance(value, dict) and isinstance(value.get("inputs"), list)):
            raise FormatError(Cause.MALFORMED_BODY, "inputs is not a list")
        found = _Found(value, "user", pictures=self._pictures)
        unscanned = [FILE_DATA] * found.encoded + [SHARED_MEMORY] * found.shared + [TENSOR] * found.numbers
        return JsonDocument(body, text, texts=found.texts, unscanned=unscanned, images=found.images)

    def decode_answer(self, path: str, content_type: str, body: bytes, status: int = 200) -> Document:
        if not 200 <= status < 300:
            return error_document(content_type, status, body, self._max_depth)
        text, value = decode_model_json(content_type, body, self._max_depth)
        traces = take_traces(value)
        infers = self._strict and path.endswith("/infer")
        if infers and not (isinstance(value, dict) and isinstance(value.get("outputs"), list)):
            raise FormatError(Cause.ANSWER_MALFORMED, "outputs is not a list")
        found = _Found(value, "assistant")
        unscanned = [FILE_DATA] * found.encoded + [SHARED_MEMORY] * found.shared
        unscanned += [MODEL_ERROR] * bool(traces)
        return JsonDocument(
            body,
            text,
            texts=found.texts,
            scores=placed(value, found.scores),
            unscanned=unscanned,
            replaced=traces,
        )

    def reads_answer(self, path: str, content_type: str, status: int) -> bool:  # noqa: ARG002
        return readable(content_type, status)

    def answer_stream(self, path: str, content_type: str) -> AnswerStream | None:  # noqa: ARG002
        return None

    def error_body(self, status: int, message: str, decision_id: str) -> tuple[str, bytes]:  # noqa: ARG002
        return "application/json", json.dumps({"error": message, "decision": decision_id}).encode()


class _Found:
    """One walk over a body, in document order."""

    def __init__(self, value: Any, role: str, *, pictures: bool = False) -> None:
        self.texts: list[TextAt] = []
        self.images: list[ImageAt] = []
        self._pictures = pictures
        self.scores: list[ScoreAt] = []
        self.encoded = False
        """Bytes in base64: pictures mostly, but servers decode texts from it, too."""
        self.shared = False
        self.numbers = False
        self._role = role
        identifiers: dict[str, Path] = {}
        stack: list[tuple[Any, Path]] = [(value, ())]
        while stack:
            here, at = stack.pop()
            match here:
                case str() if at and _in(at[-1], _NAMES) and _protocols_own(at) and shaped(here):
                    identifiers.setdefault(here, at)
                case str():
                    self._string(here, at)
                case bool() | None:
                    pass
                case float() if math.isfinite(here):
                    self.numbers = True
                    self.scores.append(ScoreAt(at, here))
                case int() | float():
                    self.numbers = True
                case list():
                    stack.extend((item, (*at, index)) for index, item in reversed(list(enumerate(here))))
                case dict():
                    for key, item in reversed(list(here.items())):
                        stack.append((item, (*at, key)))
                        if key not in WORDS and key != _B64:
                            stack.append((key, (*at, key, KEY)))
                case _:
                    pass
        self.texts += [TextAt(at, text, role, identifier=True) for text, at in identifiers.items() if text]

    def _string(self, text: str, at: Path) -> None:
        key = at[-1] if at else ""
        if key == _SHARED:
            self.shared = True
        if self._pictures and looks_like_picture(text):
            form: Literal["url", "base64"] = "url" if ":" in text[:8] else "base64"
            self.images.append(ImageAt(at, "image", form, text))
        elif key == _B64:
            self.encoded = True
            if self._role == "assistant" and 0 < len(text) <= MAX_IDENTIFIER:  # or a word that only looks so
                self.texts.append(TextAt(at, text, self._role, identifier=True))
        elif text:
            if self._role == "assistant" and key != KEY and (score := score_in(text, at)) is not None:
                self.scores.append(score)
            # Keys may be the client's own text: a place is named by its number among the texts.
            name = location(at) if all(isinstance(step, int) or step in WORDS for step in at) else ""
            self.texts.append(TextAt(at, text, self._role, name or f"text#{len(self.texts) + 1}"))


def _protocols_own(at: Path) -> bool:
    """Whether it is a member of the whole body, or of a tensor of v2."""
    match at:
        case (_,):
            return True
        case ("inputs" | "outputs", int(), _):
            return True
    return False


def _in(key: str | int, names: Container[str]) -> bool:
    return isinstance(key, str) and key in names
