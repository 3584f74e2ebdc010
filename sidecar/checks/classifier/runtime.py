"""What a child process needs to run a model of text: its files, known by hash, its tokenizer, and its graph's first output.

Used by the children of classifiers (classifier/child.py) and of names (names/child.py).
"""

from __future__ import annotations

import hashlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sidecar.checks.child.messages import Unfit
from sidecar.checks.classifier.model_files import ModelFiles

MOST_CHARS = 400_000
"""Of one text: tokenizing takes time that nobody can look at the clock in."""
MOST_MODEL = 2**31 - 1
MOST_TOKENIZER = 64 * 1024 * 1024
_DESCRIPTORS = 3
_KNOWN_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})


def quiet() -> None:
    """Before anything is loaded: no telemetry, no threads."""
    # onnxruntime from 1.29 on sends telemetry unless told otherwise before it starts; the pinned one has none in it
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def confine() -> None:
    """Take from this process, for good, what inference does not need: no file, no socket, no core."""
    for limit, most in (
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _DESCRIPTORS),
    ):
        resource.setrlimit(limit, (most, most))


def read_file(folder: str, name: str, sha256: str, most: int) -> bytes:
    """Raises Unfit when the file is not there, lies elsewhere, or is another one."""
    try:
        root = Path(folder).resolve(strict=True)
        place = (root / name).resolve(strict=True)
        fits = place.is_relative_to(root) and place.is_file() and place.stat().st_size <= most
        data = place.read_bytes() if fits else b""
    except (OSError, RuntimeError):
        raise Unfit(f"{name}: no such file in the model folder (BARTIZAN_MODEL_DIR)") from None
    if not data:
        raise Unfit(f"{name}: empty, larger than {most} bytes, or outside of the model folder")
    if (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise Unfit(f"{name}: its SHA-256 is {found}, not the policy's")
    return data


def loaded(files: ModelFiles) -> OnnxModel:
    """The model of these files. Raises Unfit with the reason when they can't be used."""
    quiet()
    return OnnxModel(
        model=read_file(files.folder, files.model, files.sha256, MOST_MODEL),
        tokenizer=read_file(files.folder, files.tokenizer, files.tokenizer_sha256, MOST_TOKENIZER),
        max_tokens=files.max_tokens,
    )


class OnnxModel:
    """A graph that makes numbers of tokens, and the tokenizer that it was trained with."""

    def __init__(self, *, model: bytes, tokenizer: bytes, max_tokens: int) -> None:
        """Raises Unfit."""
        try:
            import onnxruntime
            from tokenizers import Tokenizer
        except ImportError:
            raise Unfit("its runtime is not installed: pip install 'bartizan[ml]'") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session: Any = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime's own classes, all of them about the file
            raise Unfit("model: is no ONNX model that can be run; weights must be in the file") from error
        try:
            self._tokenizer: Any = Tokenizer.from_buffer(tokenizer)
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(max_tokens, stride=max_tokens // 4)
        except Exception as error:  # a Rust library's bare Exception
            raise Unfit("tokenizer: is no tokenizer.json that can be read") from error
        self._inputs = [each.name for each in self._session.get_inputs()]
        if "input_ids" not in self._inputs or not _KNOWN_INPUTS.issuperset(self._inputs):
            raise Unfit(
                f"model: wants {', '.join(self._inputs)}; known are {', '.join(sorted(_KNOWN_INPUTS))}"
            )
        self._output: str = self._session.get_outputs()[0].name

    def windows(self, text: str) -> Iterator[Any]:
        """Encodings of the whole text, which overlap by a quarter where one does not hold it."""
        encoding = self._tokenizer.encode(text)
        yield encoding
        yield from encoding.overflowing

    def logits(self, encoding: Any) -> Any:
        """The first output for one window, as float64. Raises what the runtime raises."""
        given = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        feed = {name: np.array([given[name]], dtype=np.int64) for name in self._inputs}
        (logits,) = self._session.run([self._output], feed)
        return np.asarray(logits, dtype=np.float64)[0]
