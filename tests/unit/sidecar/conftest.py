"""For tests that run models of text in their real child processes."""

from __future__ import annotations

import dataclasses

import pytest

from sidecar.checks.classifier import model_files
from sidecar.checks.classifier import process as classifiers
from sidecar.checks.names import process as names


@pytest.fixture
def patient_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine's answers count as well."""
    monkeypatch.setattr(model_files, "READING_SECONDS", 60.0)
    for module in (classifiers, names):
        monkeypatch.setattr(module, "KIND", dataclasses.replace(module.KIND, seconds=90.0))
