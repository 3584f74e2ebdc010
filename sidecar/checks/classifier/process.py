"""Asks an operator's own model about texts, in a child process (checks/child/process.py) of the guard worker.

Plans with the same classifier share one child, so that a new revision does not load a large model a second time.
"""

from __future__ import annotations

import time

from bartizan.policy.checks import Classifier
from sidecar.checks.child.process import AskedProcess, Kind
from sidecar.checks.classifier import model_files
from sidecar.checks.classifier.messages import Answer, Configure, Question

KIND = Kind(
    module="sidecar.checks.classifier.child",
    title="the classifier",
    name="classifier",
    field="spec.input[].promptInjection.classifier",
    seconds=4.0,  # Envoy waits two seconds longer where a policy has a classifier
    most=1024,
)


class ClassifierProcess:
    """One classifier of a policy."""

    def __init__(self, config: Classifier) -> None:
        first = Configure(
            folder=model_files.folder(),
            model=config.model.removeprefix("file:"),
            sha256=config.sha256,
            tokenizer=config.tokenizer.removeprefix("file:"),
            tokenizer_sha256=config.tokenizer_sha256,
            attack_labels=config.attack_labels,
            threshold=config.threshold,
            max_tokens=config.max_tokens,
            attack=config.self_test.attack,
            benign=config.self_test.benign,
        )
        self._process = AskedProcess.shared(KIND, first)

    def start(self) -> None:
        """Raises ResourceRejected when files are missing, are others, or fail the self-test."""
        self._process.start()

    def judge(self, text: str) -> Answer:
        """Raises ChildFailed when there is no answer in time."""
        until = time.monotonic() + model_files.READING_SECONDS
        return self._process.ask(Question(text=text, until=until), Answer)
