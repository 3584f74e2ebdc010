"""Processor time of the image check on one body: python -m benchmarks.images. Prints a table for benchmarks/README.md.

From base64 in a parsed body to base64 again, the decoder's process included: what a request waits for on a free core.
Pictures are smooth noise, which packs about as well as photographs do.
"""

# ruff: noqa: SLF001 - the decoder's process id is nobody else's business
from __future__ import annotations

import base64
import io
import random
import statistics
import sys
import time
from pathlib import Path

from PIL import Image as Pillow

from bartizan.policy.checks import Image
from sidecar.checks.images.check import ImageCheck
from sidecar.checks.images.decoder import Decoder
from sidecar.formats.base import ImagePart

SIZES = {"1 megapixel": (1024, 1024), "4 megapixels": (2048, 2048), "12 megapixels": (4000, 3000)}
"""Two minutes in all; those of 12 megapixels but JPEG take most of it."""
KINDS = {"jpeg": {"quality": 90}, "png": {}, "webp": {"quality": 90}}
ROUNDS = 9


def photograph(kind: str, size: tuple[int, int]) -> bytes:
    small = (size[0] // 8, size[1] // 8)
    made = Pillow.frombytes("RGB", small, random.Random(1).randbytes(small[0] * small[1] * 3))
    out = io.BytesIO()
    made.resize(size, Pillow.Resampling.BICUBIC).save(out, kind, **KINDS[kind])
    return out.getvalue()


def _seconds(decoder: Decoder) -> float:
    """Processor time of the decoder's process so far."""
    child = decoder._process._child
    assert child is not None
    fields = Path(f"/proc/{child._process.pid}/schedstat").read_text(encoding="ascii").split()
    return int(fields[0]) / 1e9


def measured(data: bytes, *, reencode: bool) -> tuple[float, float]:
    """p50 and the slowest, in milliseconds of processor time: of this process and of the decoder's."""
    config = Image(reencode=reencode, max_bytes="64MiB")
    decoder = Decoder(config.max_pixels)
    check = ImageCheck(config, decoder, seconds=60.0)
    check.start()
    written = base64.b64encode(data).decode()
    part = ImagePart(location="x", kind="image", form="base64", written=written)
    times = []
    for _ in range(ROUNDS + 1):
        began = time.process_time() + _seconds(decoder)
        (looked,) = check.judge([part])
        times.append((time.process_time() + _seconds(decoder) - began) * 1000)
        assert not looked.findings, looked.findings
    return statistics.median(times[1:]), max(times[1:])


def main() -> None:
    sys.stdout.write(
        "| picture | bytes | written anew: p50, slowest ms | only decoded |\n|---|---|---|---|\n"
    )
    for kind in KINDS:
        for title, size in SIZES.items():
            data = photograph(kind, size)
            cells = [
                f"{p50:.0f}, {most:.0f}"
                for p50, most in (measured(data, reencode=on) for on in (True, False))
            ]
            sys.stdout.write(f"| {kind}, {title} | {len(data):,} | {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main()
