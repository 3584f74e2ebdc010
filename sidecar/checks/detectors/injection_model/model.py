"""The linear model of the prompt-injection detector: n-grams of a text in, a probability out. No pickle, no network.

Weights are 8-bit integers in an .npz beside this file; the manifest names their SHA-256 and the thresholds. Whoever
can't load exactly these weights gets an exception, never a model that says "harmless" to everything.
"""

from __future__ import annotations

import functools
import hashlib
import io
import math
import operator
import zipfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from bartizan.errors import TrustError
from sidecar.checks.detectors.injection_model.features import BITS, WIDTH, Grams, grams

WINDOW: Final = 4_000
"""Characters that are judged as one text; a longer one is judged in windows that overlap by half."""
MAX_CHARS: Final = 128_000
"""Characters of one text that the model reads; of a longer one, evenly spread blocks. Rules read all of it."""
SHORT: Final = 240
"""Characters up to which the model may take back what a rule found."""
_BLOCK: Final = WINDOW // 2
_BUCKETS: Final = (len(BITS) - 1 << WIDTH) + (1 << BITS[-1])


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Probabilities: below doubt a short text is harmless in spite of a rule; from weak on a weak rule is enough to flag
    it, from flag on it is flagged without one, from block on the policy's action is taken. Texts that tools brought are flagged from document on: documents speak of
    instructions, passwords and commands more than people do.
    """

    doubt: Annotated[float, Meta(ge=0, le=1)]
    weak: Annotated[float, Meta(ge=0, le=1)]
    flag: Annotated[float, Meta(ge=0, le=1)]
    block: Annotated[float, Meta(ge=0, le=1)]
    document: Annotated[float, Meta(ge=0, le=1)]


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Probability = 1 / (1 + exp(-(slope * score + offset)))."""

    slope: float
    offset: float


class Manifest(msgspec.Struct, frozen=True):
    """What the manifest says to the runtime; the rest of it is for readers."""

    name: str
    sha256: str
    bias: float
    scales: tuple[float, ...]
    rarity: tuple[float, ...]
    calibration: Calibration
    thresholds: Thresholds


@dataclass(frozen=True, slots=True)
class _Table:
    """What each bucket adds, `sums[codes[bucket]]`: few numbers differ, and two bytes a bucket are what was released.
    A kind begins at its number << WIDTH.
    """

    codes: NDArray[np.unsignedinteger]
    sums: NDArray[np.complex128]
    """To the score, and, as the imaginary part, to the square of the text's length: looked up and added in one step.
    Both are whole multiples of 2^-27 below 2^7, so that no sum of up to 2^19 rounds, in whatever order.
    """


Sums = list[complex]
"""Of each kind of n-gram: the sum, and as the imaginary part the square of the length."""


class _Adder:
    """Adds up one stretch of a text after the other, in the same memory."""

    def __init__(self, table: _Table) -> None:
        self._table = table
        self._added = np.empty(0, np.complex128)

    def sums(self, found: Grams) -> list[Sums]:
        """Of every block and kind of n-gram the sum of what they add."""
        count = len(found.keys)
        if len(self._added) <= count:
            self._added = np.empty(count + count // 4 + 1, np.complex128)
        added = self._added[: count + 1]
        added[-1] = 0
        self._table.sums.take(self._table.codes.take(found.keys), out=added[:-1], mode="clip")
        sums = np.add.reduceat(added, found.starts[:-1]).tolist()
        for at, (start, end) in enumerate(pairwise(found.starts.tolist())):
            if start == end:
                sums[at] = 0j  # reduceat gives the next number
        return [sums[block :: found.blocks] for block in range(found.blocks)]


class InjectionModel:
    """Judges folded texts. Immutable; equal texts get equal scores."""

    def __init__(self, manifest: Manifest, weights: bytes) -> None:
        """Raises TrustError when the weights are not the ones that the manifest names, or don't fit."""
        if hashlib.sha256(weights).hexdigest() != manifest.sha256:
            raise TrustError("the weights of the injection model are not those of its manifest")
        self.thresholds = manifest.thresholds
        self._bias = manifest.bias
        self._calibration = manifest.calibration
        self._table = _table(manifest, weights)

    def probability(self, text: str) -> float:
        """How likely this folded text attacks the application: the worst of its windows, 0 to 1."""
        return self.worst(text)[0]

    def worst(self, text: str) -> tuple[float, int, int]:
        """The probability, and the window that has it: where it starts and ends in what was read of the text."""
        read = _sample(text)
        block = _BLOCK if len(read) > WINDOW else len(read) + 2
        adder = _Adder(self._table)
        blocks = [each for found in grams(read, block) for each in adder.sums(found)]
        windows = [list(map(operator.add, *pair)) for pair in pairwise(blocks)] or blocks
        scores = list(map(self._score, windows))
        score = max(scores)
        at = scores.index(score)
        return self._calibrated(score), at * _BLOCK, min(len(read), (at + 2) * _BLOCK)

    def _score(self, kinds: Sums) -> float:
        """Each kind counts by its text's length."""
        score = 0.0
        for each in kinds:
            score += each.real / math.sqrt(max(each.imag, 1e-9))
        return score + self._bias

    def _calibrated(self, score: float) -> float:
        return 1 / (
            1 + math.exp(-max(-60.0, min(60.0, self._calibration.slope * score + self._calibration.offset)))
        )


@functools.cache
def shipped() -> InjectionModel:
    """The model of this package, read once. Raises TrustError when its files are damaged or missing."""
    place = Path(__file__).parent
    try:
        manifest = msgspec.json.decode(place.joinpath("manifest.json").read_bytes(), type=Manifest)
        weights = place.joinpath("weights.npz").read_bytes()
    except (OSError, msgspec.DecodeError) as fault:
        raise TrustError("the injection model of this package can't be read") from fault
    return InjectionModel(manifest, weights)


def _sample(text: str) -> str:
    """The text, or blocks of it with even gaps between them, the first and the last included."""
    if len(text) <= MAX_CHARS:
        return text
    wanted, last = MAX_CHARS // _BLOCK, len(text) - _BLOCK
    starts = [last * number // (wanted - 1) for number in range(wanted)]
    return "".join(text[start : start + _BLOCK] for start in starts)


def _table(manifest: Manifest, weights: bytes) -> _Table:
    """Raises TrustError for weights that are no archive, and for those of other features than ours."""
    found = np.zeros(_BUCKETS, np.int8)
    rarity = np.zeros(_BUCKETS, np.uint8)
    try:
        with np.load(io.BytesIO(weights), allow_pickle=False) as arrays:
            for kind, bits in enumerate(BITS):
                place = slice(kind << WIDTH, (kind << WIDTH) + (1 << bits))
                found[place] = _bytes(arrays[f"weights_{kind}"], np.dtype(np.int8), 1 << bits)
                rarity[place] = _bytes(arrays[f"rarity_{kind}"], np.dtype(np.uint8), 1 << bits)
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as fault:
        raise TrustError("the weights of the injection model can't be read") from fault
    kinds = np.arange(_BUCKETS, dtype=np.uint32) >> WIDTH
    pairs = kinds << 16 | found.view(np.uint8).astype(np.uint32) << 8 | rarity
    there = np.zeros(len(BITS) << 16, np.bool_)
    there[pairs] = True
    (pairs_there,) = there.nonzero()
    numbers = np.zeros(len(there), np.min_scalar_type(len(pairs_there)))
    numbers[pairs_there] = np.arange(len(pairs_there))
    kinds = pairs_there >> 16
    weights_there = (pairs_there >> 8).astype(np.int8) * np.array(manifest.scales, np.float32)[kinds]
    rare = (pairs_there & 255).astype(np.float32) * np.array(manifest.rarity, np.float32)[kinds]
    return _Table(numbers[pairs], (weights_there * rare + 1j * rare * rare).astype(np.complex128))


def _bytes(array: NDArray[Any], kind: np.dtype[Any], size: int) -> NDArray[Any]:
    if array.dtype != kind or array.shape != (size,):
        raise TrustError("the weights of the injection model do not fit its features")
    return array
