"""The process that decodes pictures: whatever is done to it or sent to it, no picture passes by it unseen."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bartizan.errors import ResourceRejected
from sidecar.checks.child.messages import Part
from sidecar.checks.child.process import MOST_WAITING, AskedProcess, ChildFailed, Kind
from sidecar.checks.images.decoder import KIND, Decoder
from sidecar.checks.images.messages import Answer, Configure, Question
from tests.support.pictures import KINDS, loaded, picture, png

CASES = int(os.environ.get("BARTIZAN_FUZZ_CASES", "60"))
DECODER = Decoder(16_000_000)


def question(data: bytes, kind: str = "png", width: int = 64, height: int = 48, frames: int = 1) -> Question:
    return Question(
        kind=kind, data=data, width=width, height=height, frames=frames, lossless=True, reencode=True
    )


def ask(decoder: Decoder, data: bytes, seconds: float = 30.0, **more: int) -> Answer:
    return decoder.decode(question(data, **more), time.monotonic() + seconds)  # type: ignore[arg-type]


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    made = Decoder(16_000_000)
    made.start()
    yield made
    del made


def pid(decoder: Decoder) -> int:
    child = decoder._process._child
    assert child is not None
    return child._process.pid


def test_a_child_that_is_killed_is_started_again(decoder: Decoder) -> None:
    first = pid(decoder)
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert ask(decoder, picture()).good
    assert pid(decoder) != first


def test_a_child_that_hangs_is_ended_at_its_deadline_and_started_again(decoder: Decoder) -> None:
    first = pid(decoder)
    os.kill(first, signal.SIGSTOP)
    with pytest.raises(ChildFailed, match="late"):
        ask(decoder, picture(), seconds=0.5)
    assert not Path(f"/proc/{first}").exists()
    assert ask(decoder, picture()).good


def test_a_late_answer_is_never_taken_for_the_next_questions(decoder: Decoder) -> None:
    slow = picture(size=(3000, 3000))
    with pytest.raises(ChildFailed):
        ask(decoder, slow, seconds=0.0, width=3000, height=3000)
    answer = ask(decoder, picture())
    assert answer.good
    assert len(answer.data) < 1000


def test_more_questions_than_may_wait_are_refused_at_once(decoder: Decoder) -> None:
    with ThreadPoolExecutor(MOST_WAITING + 3) as pool:
        with decoder._process._lock:  # another question
            asked = [pool.submit(ask, decoder, picture(), 60.0) for _ in range(MOST_WAITING + 3)]
            refused = list(itertools.islice(as_completed(asked, timeout=60), 3))
            assert all("overloaded" in str(each.exception()) for each in refused)
        assert all(each.result().good for each in asked if each not in refused)


def test_a_picture_that_lies_about_its_size_is_no_more_than_it_said(decoder: Decoder) -> None:
    packed = zlib.compress(bytes(200_000_000), 9)
    ask(decoder, png(64, 48, packed))
    peak = Path(f"/proc/{pid(decoder)}/status").read_text().split("VmHWM:")[1].split()[0]
    assert int(peak) < 300_000  # kB


def test_memory_beyond_the_bound_is_refused_not_taken() -> None:
    small = Decoder(1)
    small.start()
    size = 12_000
    data = png(size, size, zlib.compress(bytes(size * (3 * size + 1)), 1))
    with contextlib.suppress(ChildFailed):
        assert not ask(small, data, width=size, height=size).good
    assert ask(small, picture()).good


@pytest.mark.parametrize(
    "data",
    [picture(size=(65, 48)), picture(size=(64, 49)), picture(frames=2), picture("gif"), b"", b"\x89PNG"],
)
def test_what_is_not_as_it_was_announced_is_not_good(data: bytes) -> None:
    assert not ask(DECODER, data).good


SEEDS = {kind: loaded(kind) for kind in KINDS}


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(KINDS), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8))
def test_broken_pictures_are_refused_or_come_back_as_pictures(
    kind: str, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(SEEDS[kind])
    for at, byte in changes:
        data[at % len(data)] = byte
    answer = DECODER.decode(question(bytes(data), kind), time.monotonic() + 30)
    assert not answer.good or (answer.data and b"canary" not in answer.data)


def test_a_confined_process_opens_nothing_and_starts_nothing() -> None:
    script = """
import os, resource, socket, sys
from sidecar.checks.images.child import confine
confine(1 << 30)
failed = []
for name, do in {
    "open": lambda: open("/etc/passwd"),
    "socket": lambda: socket.socket(),
    "memory": lambda: bytearray(2 << 30),
    "raise": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)) or os.dup(0),
}.items():
    try:
        do()
    except (OSError, MemoryError):
        failed.append(name)
os.write(1, " ".join(failed).encode())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.decode() == "open socket memory raise"


def test_a_child_that_can_not_work_refuses_the_policy_with_its_reason() -> None:
    class Wrong(Part, frozen=True):
        """Nothing that the child knows."""

        other: int = 1

    process = AskedProcess(KIND, Wrong())
    with pytest.raises(ResourceRejected, match="did not start") as refused:
        process.start()
    assert refused.value.path == "spec.input[].image"


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "PIL.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ResourceRejected, match=r"pip install 'bartizan\[image\]'"):
        Decoder(1000).start()


def test_an_answer_without_end_is_not_read() -> None:
    kind = Kind(module=KIND.module, title="t", name="image", field="f", seconds=30.0, most=100)
    process = AskedProcess(kind, Configure(memory=1 << 30, seconds=9))
    with pytest.raises(ChildFailed, match="died"):
        process.ask(question(picture(size=(64, 48))), Answer)
