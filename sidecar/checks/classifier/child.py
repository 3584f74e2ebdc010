"""The process in which an operator's own model runs: `python -m sidecar.checks.classifier.child`.

A process of its own, because inference is C++ that takes long and much memory: it can be late or die without the
worker. It reads its two files, lets go of every right to open more, and ends when its standard input does.
"""

from __future__ import annotations

import hashlib
import math
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sidecar.checks.child.messages import Unfit, serve
from sidecar.checks.classifier.messages import Answer, Configure, Question

MOST_CHARS = 400_000
"""Of one text: tokenizing takes time that nobody can look at the clock in."""
_MOST_MODEL = 2**31 - 1
_MOST_TOKENIZER = 64 * 1024 * 1024
_SELF_TEST_SECONDS = 10.0
_DESCRIPTORS = 3
_KNOWN_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})


def build(configure: Configure) -> Callable[[Question], Answer]:
    """Raises Unfit with the reason when these files can't be used, or do not tell the two samples apart."""
    # onnxruntime from 1.29 on sends telemetry unless told otherwise before it starts; the pinned one has none in it
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    model = OnnxClassifier(
        model=_file(configure.folder, configure.model, configure.sha256, _MOST_MODEL),
        tokenizer=_file(configure.folder, configure.tokenizer, configure.tokenizer_sha256, _MOST_TOKENIZER),
        attack_labels=configure.attack_labels,
        max_tokens=configure.max_tokens,
    )
    confine()

    def judge(question: Question) -> Answer:
        try:
            return model.score(question.text, time.monotonic() + question.seconds)
        except Exception:  # of whatever kind: nobody judged this text
            return Answer(score=0.0, whole=False)

    for name, text, attack in (("attack", configure.attack, True), ("benign", configure.benign, False)):
        answer = judge(Question(text=text, seconds=_SELF_TEST_SECONDS))
        if not answer.whole:
            raise Unfit(f"self-test: selfTest.{name} could not be judged; does the tokenizer fit the model?")
        if (answer.score >= configure.threshold) is not attack:
            wanted = f"{'at least' if attack else 'less than'} {configure.threshold:g}"
            raise Unfit(f"self-test: selfTest.{name} got {answer.score:.3f}, wanted {wanted}")
    return judge


def confine() -> None:
    """Take from this process, for good, what inference does not need: no file, no socket, no core."""
    for limit, most in (
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _DESCRIPTORS),
    ):
        resource.setrlimit(limit, (most, most))


class OnnxClassifier:
    """A graph that makes logits of tokens, and the tokenizer that it was trained with."""

    def __init__(
        self, *, model: bytes, tokenizer: bytes, attack_labels: tuple[int, ...], max_tokens: int
    ) -> None:
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
        self._labels = attack_labels
        self._check()

    def score(self, text: str, deadline: float) -> Answer:
        """The worst window, `deadline` of time.monotonic allowing. Raises what the runtime raises."""
        highest = 0.0
        for encoding in self._windows(text[:MOST_CHARS]):
            if time.monotonic() > deadline:
                return Answer(score=highest, whole=False)
            highest = max(highest, self._probability(encoding))
        return Answer(score=highest, whole=len(text) <= MOST_CHARS)

    def _windows(self, text: str) -> Iterator[Any]:
        encoding = self._tokenizer.encode(text)
        yield encoding
        yield from encoding.overflowing

    def _probability(self, encoding: Any) -> float:
        logits = self._logits(encoding)
        if len(logits) == 1:  # one label: its own probability
            return float(1 / (1 + math.exp(-max(-60.0, min(60.0, float(logits[0]))))))
        shares = np.exp(logits - logits.max())
        return float(shares[list(self._labels)].sum() / shares.sum())

    def _logits(self, encoding: Any) -> Any:
        given = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        feed = {name: np.array([given[name]], dtype=np.int64) for name in self._inputs}
        (logits,) = self._session.run([self._output], feed)
        row = np.asarray(logits, dtype=np.float64)[0]
        if row.ndim != 1 or not len(row) or not np.isfinite(row).all():
            raise ValueError("no row of finite logits")
        return row

    def _check(self) -> None:
        """One run, before the first text counts: raises Unfit where graph, tokenizer and labels don't fit."""
        try:
            found = len(self._logits(self._tokenizer.encode("self-test")))
        except Exception as error:  # as above
            raise Unfit(
                "model: can't be run on what the tokenizer makes: one row of logits is wanted"
            ) from error
        if max(self._labels) >= found:
            raise Unfit(f"attackLabels: the model has {found} labels, numbered from 0")


def _file(folder: str, name: str, sha256: str, most: int) -> bytes:
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


if __name__ == "__main__":
    serve(Configure, Question, build)
