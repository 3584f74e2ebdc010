"""Models of text that a child process runs (runtime.py): what parent and child say of their files, and where those are."""

from __future__ import annotations

import importlib.util
import os

from sidecar.checks.child.messages import Part

SETTING = "BARTIZAN_MODEL_DIR"
DEFAULT_FOLDER = "/etc/bartizan/models"
READING_SECONDS = 3.0
"""For one text, with the time it waits for others. The child looks at the clock between windows: neither a long text nor
many of them must cost the process its life."""


class ModelFiles(Part, frozen=True):
    """Begins the first message to such a child: which files, known by hash."""

    folder: str
    model: str
    sha256: str
    tokenizer: str
    tokenizer_sha256: str
    max_tokens: int


def available() -> bool:
    """Whether this installation has what runs them."""
    return all(importlib.util.find_spec(name) is not None for name in ("onnxruntime", "tokenizers"))


def folder() -> str:
    """Where the operator's own are."""
    return os.environ.get(SETTING) or DEFAULT_FOLDER
