"""Groups similar attacks while they stream by: min-hash signatures of word pairs, bands, first come first lead.

Bounded: a signature per cluster, at most MAX_CLUSTERS of them; what comes later and is like none of them is counted as
other. No text is kept unless the caller wants an excerpt.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_CLUSTERS: Final = 2_000
_HASHES: Final = 32
_BAND: Final = 2
_ALIKE: Final = 0.4
"""Share of equal hashes, an estimate of the share of common word pairs, from which two texts are called similar."""
_WORD = re.compile(r"[^\W_]+")
_MAX_WORDS: Final = 400

Signature = NDArray[np.uint64]


@dataclass(slots=True, kw_only=True)
class Cluster:
    """Attacks that are alike. `first` is the line of the one that began it."""

    first: int
    signature: Signature
    count: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    sources: set[str] = field(default_factory=set)
    excerpt: str = ""


class Clusters:
    """All clusters of a scan."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._factors = rng.integers(1, 2**63, _HASHES, dtype=np.uint64) | np.uint64(1)
        self._bands: dict[tuple[int, bytes], int] = {}
        self.found: list[Cluster] = []
        self.other = 0

    def add(self, index: int, text: str, kinds: list[str], source: str, excerpt: str) -> None:
        """Count an attack where it belongs."""
        signature = self._signature(text)
        keys = [(band, signature[band : band + _BAND].tobytes()) for band in range(0, _HASHES, _BAND)]
        cluster = self._like(signature, keys)
        if cluster is None:
            if len(self.found) >= MAX_CLUSTERS:
                self.other += 1
                return
            cluster = Cluster(first=index, signature=signature, excerpt=excerpt)
            for key in keys:
                self._bands.setdefault(key, len(self.found))
            self.found.append(cluster)
        cluster.count += 1
        for kind in kinds:
            cluster.kinds[kind] = cluster.kinds.get(kind, 0) + 1
        if source and len(cluster.sources) < 100:
            cluster.sources.add(source)

    def largest(self, limit: int) -> list[Cluster]:
        """The largest first; of equal ones the older."""
        return sorted(self.found, key=lambda cluster: (-cluster.count, cluster.first))[:limit]

    def _like(self, signature: Signature, keys: list[tuple[int, bytes]]) -> Cluster | None:
        best, alike = None, _ALIKE
        for number in dict.fromkeys(self._bands[key] for key in keys if key in self._bands):
            share = float(np.mean(self.found[number].signature == signature))
            if share >= alike:
                best, alike = self.found[number], share
        return best

    def _signature(self, text: str) -> Signature:
        words = _WORD.findall(text.lower())[:_MAX_WORDS]
        pairs = {" ".join(words[at : at + 2]) for at in range(max(1, len(words) - 1))}
        digests = (hashlib.blake2b(pair.encode("utf-8", "replace"), digest_size=8).digest() for pair in pairs)
        hashes = np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)
        mixed = hashes[:, None] * self._factors[None, :]
        smallest: Signature = (mixed ^ (mixed >> np.uint64(29))).min(axis=0)
        return smallest
