"""What a scan says at its end: counts, plots' data, top sources, clusters. Bounded however many lines there were."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.model.finding import Action
from sidecar.scan.clusters import Clusters
from sidecar.scan.judge import Hit, Verdict

MAX_SOURCES: Final = 5_000
BINS: Final = 20
_SLICES: Final = 64
_EXCERPT: Final = 160
_SHOWN_CLUSTERS: Final = 50
_SHOWN_SOURCES: Final = 50


class Timeline:
    """Lines and hits by position: slices double in width when there are too many of them."""

    def __init__(self) -> None:
        self.width = 1
        self.slices: list[list[int]] = []

    def add(self, index: int, hit: bool) -> None:
        while index // self.width >= _SLICES:
            self._widen()
        at = index // self.width
        while len(self.slices) <= at:
            self.slices.append([0, 0])
        self.slices[at][0] += 1
        self.slices[at][1] += hit

    def _widen(self) -> None:
        self.width *= 2
        pairs = [self.slices[at : at + 2] for at in range(0, len(self.slices), 2)]
        self.slices = [[sum(one[0] for one in pair), sum(one[1] for one in pair)] for pair in pairs]


@dataclass(slots=True, kw_only=True)
class Source:
    """What came from one source."""

    lines: int = 0
    hits: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


class Summary:
    """Counts everything of one scan. Without `scored` nothing is said of scores, and `text` names kinds, not words."""

    def __init__(self, *, excerpts: bool = False, scored: bool = True) -> None:
        self.scored = scored
        self.complete = True
        """False when somebody stopped the scan."""
        self.lines = 0
        self.hits = 0
        self.faults = 0
        self.actions: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.bins = [[0, 0] for _ in range(BINS)]
        self.sources: dict[str, Source] = {}
        self.other_sources = Source()
        self.timeline = Timeline()
        self.clusters = Clusters()
        self._excerpts = excerpts

    def fault(self, index: int) -> None:
        """A line that can't be read: a request like it is refused."""
        self.lines += 1
        self.faults += 1
        self.actions["deny"] += 1
        self.timeline.add(index, hit=False)

    def add(self, index: int, verdict: Verdict, source: str, text: str) -> None:
        """A judged line. `text` serves the clusters and, if wanted, an excerpt; it is not kept otherwise."""
        hit = verdict.action is not Action.ALLOW
        kinds = list(dict.fromkeys(f"{one.detector}:{one.kind}" for one in verdict.hits))
        self.lines += 1
        self.hits += hit
        self.actions[verdict.action.name.lower()] += 1
        self.kinds.update(kinds)
        if verdict.score is not None:
            self.bins[min(BINS - 1, int(verdict.score * BINS))][hit] += 1
        self.timeline.add(index, hit)
        if source:
            self._source(source, kinds, hit=hit)
        if hit:
            excerpt = _excerpt(text, verdict.hits) if self._excerpts else ""
            self.clusters.add(index, text, kinds, source, excerpt)

    def _source(self, name: str, kinds: list[str], *, hit: bool) -> None:
        source = self.sources.get(name)
        if source is None:
            source = Source() if len(self.sources) < MAX_SOURCES else self.other_sources
            if source is not self.other_sources:
                self.sources[name] = source
        source.lines += 1
        source.hits += hit
        source.kinds.update(kinds)

    def data(self) -> dict[str, Any]:
        """The summary for a report."""
        ranked = sorted(self.sources.items(), key=lambda item: (-item[1].hits, -item[1].lines, item[0]))
        return {
            "complete": self.complete,
            "lines": self.lines,
            "hits": self.hits,
            "unreadable": self.faults,
            "actions": dict(self.actions.most_common()),
            "kinds": dict(self.kinds.most_common()),
            "scores": [
                {"from": at / BINS, "to": (at + 1) / BINS, "passed": passed, "hit": hit}
                for at, (passed, hit) in enumerate(self.bins)
                if self.scored
            ],
            "timeline": {
                "lines_per_slice": self.timeline.width,
                "slices": [{"lines": lines, "hits": hits} for lines, hits in self.timeline.slices],
            },
            "sources": [
                {
                    "source": name,
                    "lines": one.lines,
                    "hits": one.hits,
                    "kinds": dict(one.kinds.most_common(5)),
                }
                for name, one in ranked[:_SHOWN_SOURCES]
            ],
            "other_sources": {"lines": self.other_sources.lines, "hits": self.other_sources.hits},
            "clusters": [
                {
                    "first_line": one.first,
                    "size": one.count,
                    "kinds": dict(sorted(one.kinds.items(), key=lambda item: -item[1])),
                    "sources": len(one.sources),
                    **({"excerpt": one.excerpt} if self._excerpts else {}),
                }
                for one in self.clusters.largest(_SHOWN_CLUSTERS)
            ],
            "clusters_in_all": len(self.clusters.found),
            "not_clustered": self.clusters.other,
        }


def _excerpt(text: str, hits: tuple[Hit, ...]) -> str:
    """The beginning of a text without secrets and personal data."""
    masked = list(text[:_EXCERPT])
    for hit in hits:
        if hit.detector in {"pii", "secrets"} and hit.start is not None and hit.end is not None:
            for at in range(hit.start, min(hit.end, len(masked))):
                masked[at] = "*"
    return " ".join("".join(masked).split())
