"""Trains the shipped model: python -m sidecar.checks.detectors.injection_model.training --data DIR --out DIR.

DIR of --data holds prompts.jsonl. --out gets weights.npz, manifest.json and report.json; nothing of the data.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from sidecar.checks.detectors.injection_model.training import compose, fit, report, sources
from sidecar.checks.detectors.injection_model.training.sources import JUDGE_ONLY, Sample

SEED = 0
COMPOSED = 12_000
LEFT_OUT_CAP = 1_200
FLAG_RATE = 0.0075
BLOCK_RATE = 0.001
DOCUMENT_RATE = 0.01
"""Share of left-out technical documents that may be flagged when a tool brought them."""
DOUBT = 0.78
"""Probability below which a rule's hit in a short text is taken for a figure of speech or a quotation."""
WEAK = 0.65
"""Probability from which a weak rule is enough to flag a text."""
LEARNT_CAP = 4_000


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--composed", type=int, default=COMPOSED, help="sentences of our own, per label")
    parser.add_argument(
        "--cap", type=int, default=LEFT_OUT_CAP, help="rows per source while sources are left out"
    )
    chosen = parser.parse_args(arguments)
    train(chosen.data, chosen.out, composed=chosen.composed, cap=chosen.cap)


def train(data: Path, out: Path, *, composed: int = COMPOSED, cap: int = LEFT_OUT_CAP) -> None:
    """Leave each group out for thresholds and figures, then fit on all rows that may be learnt from."""
    own = _own(composed)
    made = fit.matrices([sample.text for sample in own])
    found = sources.read(data, cap)
    samples = [*found, *own]
    kinds = fit.stacked(fit.matrices([sample.text for sample in found]), made)
    left = report.leave_out(samples, kinds, _say)
    rules = report.rule_hits(samples)
    slope, offset = report.calibrate(samples, left.scores)
    doubt, weak = ((np.log(at / (1 - at)) - offset) / slope for at in (DOUBT, WEAK))
    scores = report.asked(samples, left.scores)
    standing = rules.standing(scores, doubt, weak)
    denying = rules.denying(scores, doubt)
    flag = report.threshold(samples, scores, FLAG_RATE, standing)
    block = report.threshold(samples, scores, BLOCK_RATE, denying)
    document = report.document_threshold(samples, scores, DOCUMENT_RATE, standing)
    figures = {
        name: {
            "score": at,
            "sources": report.table(samples, scores, stands, rules.any, at),
            "own": {kind: float(np.mean(own >= at)) for kind, own in left.own.items()},
        }
        for name, at, stands in (
            ("flag", flag, standing),
            ("block", block, denying),
            ("document", document, denying),
        )
    }
    out.mkdir(parents=True, exist_ok=True)
    np.savez(out / "left_out.npz", scores=left.scores, rules=rules.any, firm=rules.firm)
    learnt, parts = _learnt(sources.read(data, LEARNT_CAP), own, made)
    model = fit.fit(parts, learnt)
    arrays, steps, rarity_steps = fit.quantised(model)
    weights = packed(arrays)
    (out / "weights.npz").write_bytes(weights)
    manifest = {
        "name": "bartizan-injection-linear-6",
        "sha256": hashlib.sha256(weights).hexdigest(),
        "bias": model.bias,
        "scales": steps,
        "rarity": rarity_steps,
        "calibration": {"slope": slope, "offset": offset},
        "thresholds": {"doubt": DOUBT, "weak": WEAK}
        | {
            name: _probability(slope * at + offset)
            for name, at in (("flag", flag), ("block", block), ("document", document))
        },
        "training": {
            "command": "python -m sidecar.checks.detectors.injection_model.training --data DIR --out DIR",
            "seed": SEED,
            "data_sha256": hashlib.sha256((data / "prompts.jsonl").read_bytes()).hexdigest(),
            "strength": fit.STRENGTH,
            "alone": fit.ALONE,
            "noise": fit.NOISE,
            "sources": described(learnt),
        },
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    (out / "report.json").write_text(json.dumps(figures, indent=1) + "\n")
    _say(f"weights {len(weights)} bytes, thresholds {manifest['thresholds']}")


def packed(arrays: dict[str, np.typing.NDArray[Any]]) -> bytes:
    """An .npz whose bytes depend on the arrays alone: np.savez writes the time of day into it."""
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            one = BytesIO()
            np.lib.format.write_array(one, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), one.getvalue(), zipfile.ZIP_DEFLATED, 9)
    return out.getvalue()


def _own(count: int) -> list[Sample]:
    made = ((compose.attacks, 1, SEED), (compose.benign, 0, SEED))
    return [
        Sample(text=text, label=label, source="composed", group="composed", license="Apache-2.0")
        for make, label, seed in made
        for text in make(count, seed)
    ]


def _learnt(
    found: Sequence[Sample], own: Sequence[Sample], made: Sequence[fit.Matrix]
) -> tuple[list[Sample], list[fit.Matrix]]:
    """The rows that the shipped model learns, and their n-grams; `made` are those of our own sentences."""
    allowed = [sample for sample in found if sample.group != JUDGE_ONLY]
    kinds = fit.stacked(fit.matrices([sample.text for sample in allowed]), made)
    rows = [*allowed, *own]
    chosen = fit.plausible(kinds, rows)
    kept = [sample for sample, wanted in zip(rows, chosen, strict=True) if wanted]
    return kept, [matrix[chosen] for matrix in kinds]


def described(samples: Sequence[Sample]) -> dict[str, dict[str, str | int]]:
    """For readers of the manifest: where each source is from, its licence, how many rows were learnt."""
    out: dict[str, dict[str, str | int]] = {}
    for sample in samples:
        source = out.setdefault(
            sample.source,
            {"origin": sources.ORIGINS[sample.source], "licence": sample.license, "benign": 0, "attacks": 0},
        )
        kind = "attacks" if sample.label else "benign"
        source[kind] = int(source[kind]) + 1
    return dict(sorted(out.items()))


def _probability(score: float) -> float:
    return round(float(1 / (1 + np.exp(-score))), 4)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
