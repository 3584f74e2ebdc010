"""A classifier in its real process: which files it takes, what it says of texts, and what the process may still do."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from onnx import TensorProto, load_from_string

from bartizan.errors import ResourceRejected
from bartizan.policy.checks import SelfTest
from sidecar.checks.classifier import model_files
from sidecar.checks.classifier.child import OnnxClassifier
from sidecar.checks.classifier.process import ClassifierProcess
from sidecar.checks.classifier.runtime import MOST_CHARS, OnnxModel
from tests.support.classifiers import ATTACK, BENIGN, WORD, Made, digest, graph, made, tokenizer

FILLER = "tea "

pytestmark = pytest.mark.usefixtures("patient_children")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.setenv(model_files.SETTING, str(tmp_path))
    return made(tmp_path)


def loaded(max_tokens: int = 16, **how: Any) -> OnnxClassifier:
    model = OnnxModel(model=graph(**how), tokenizer=tokenizer().encode(), max_tokens=max_tokens)
    return OnnxClassifier(model, (1,))


def later() -> float:
    return time.monotonic() + 60


@pytest.mark.parametrize(
    ("inputs", "labels"),
    [
        (("input_ids",), 2),
        (("input_ids", "attention_mask"), 3),
        (("input_ids", "attention_mask", "token_type_ids"), 2),
    ],
)
def test_a_classifier_tells_attacks_from_other_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: tuple[str, ...], labels: int
) -> None:
    monkeypatch.setenv(model_files.SETTING, str(tmp_path))
    asked = ClassifierProcess(made(tmp_path, inputs=inputs, labels=labels).config)
    asked.start()
    attack, benign = asked.judge(ATTACK), asked.judge(BENIGN)
    assert attack.whole
    assert benign.whole
    assert attack.score > 0.9
    assert benign.score < 0.1


def _model(files: Made, data: bytes) -> Any:
    (files.folder / "guard.onnx").write_bytes(data)
    return {"sha256": digest(files.folder / "guard.onnx")}


def _tokenizer(files: Made, data: bytes) -> Any:
    (files.folder / "tokenizer.json").write_bytes(data)
    return {"tokenizer_sha256": digest(files.folder / "tokenizer.json")}


def _elsewhere(files: Made) -> Any:
    outside = files.folder.parent / "outside.onnx"
    outside.write_bytes(graph())
    (files.folder / "link.onnx").symlink_to(outside)
    return {"model": "file:link.onnx", "sha256": digest(outside)}


def _weights_elsewhere(files: Made) -> Any:
    model = load_from_string(graph())
    (weights,) = model.graph.initializer
    (files.folder / "weights.bin").write_bytes(weights.raw_data)
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    entry = weights.external_data.add()
    entry.key, entry.value = "location", str(files.folder / "weights.bin")
    return _model(files, model.SerializeToString())


REFUSED: dict[str, Callable[[Made], Any]] = {
    r"gone\.onnx: no such file in the model folder": lambda _: {"model": "file:gone.onnx"},
    r"gone\.json: no such file": lambda _: {"tokenizer": "file:gone.json"},
    r"link\.onnx: .*outside of the model folder": _elsewhere,
    r"guard\.onnx: its SHA-256 is [0-9a-f]{64}, not the policy's": lambda _: {"sha256": "0" * 64},
    r"tokenizer\.json: its SHA-256 is": lambda _: {"tokenizer_sha256": "0" * 64},
    "model: is no ONNX model that can be run": lambda files: _model(files, b"no model"),
    "model: is no ONNX model that can be run; weights must be in the file": _weights_elsewhere,
    r"tokenizer: is no tokenizer\.json": lambda files: _tokenizer(files, b"{}"),
    "model: wants input_ids, pixels": lambda files: _model(files, graph(("input_ids", "pixels"))),
    "model: can't be run": lambda files: _model(files, graph(shape="tokens")),
    "attackLabels: the model has 2 labels": lambda _: {"attack_labels": (2,)},
    r"self-test: selfTest\.attack got 0\.0\d\d, wanted at least 0\.5": lambda _: {"attack_labels": (0,)},
    r"self-test: selfTest\.benign got 0\.011, wanted less than 0\.01": lambda _: {"threshold": 0.01},
    r"self-test: selfTest\.attack got": lambda _: {"self_test": SelfTest(attack=BENIGN, benign=ATTACK)},
    r"self-test: selfTest\.attack could not be judged": lambda files: _model(files, graph(rows=3)),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_trusted_is_refused_with_its_reason(files: Made, reason: str) -> None:
    asked = ClassifierProcess(files.using(**REFUSED[reason](files)))
    with pytest.raises(ResourceRejected, match=reason) as refusal:
        asked.start()
    assert refusal.value.path == "spec.input[].promptInjection.classifier"


@pytest.mark.parametrize("before", [0, 10, 15, 16, 40, 600])
def test_a_long_text_is_read_in_windows_that_overlap(before: int) -> None:
    text = FILLER * before + WORD + " " + FILLER * 600
    assert loaded().score(text, later()).score > 0.5
    assert loaded(max_tokens=512).score(text, later()).score < 0.1


def test_what_was_not_read_whole_is_said(files: Made) -> None:
    classifier = loaded()
    assert not classifier.score(FILLER * 100, time.monotonic() - 1).whole
    assert not loaded(8192).score("tea" * MOST_CHARS, later()).whole
    assert classifier.score(FILLER * 100, later()).whole


def test_the_process_can_open_nothing_any_more(files: Made) -> None:
    asked = ClassifierProcess(files.config)
    asked.start()
    child = asked._process._child
    assert child is not None
    limits = Path(f"/proc/{child._process.pid}/limits").read_text()
    wanted = {"Max open files": "3", "Max file size": "0", "Max core file size": "0"}
    for name, most in wanted.items():
        (line,) = (line for line in limits.splitlines() if line.startswith(name))
        assert line.removeprefix(name).split()[:2] == [most, most]


def test_equal_classifiers_share_a_process(files: Made) -> None:
    one, same = ClassifierProcess(files.config), ClassifierProcess(msgspec.structs.replace(files.config))
    other = ClassifierProcess(files.using(threshold=0.6))
    assert one._process is same._process
    assert one._process is not other._process


def test_the_pinned_runtime_has_no_telemetry_in_it() -> None:
    spec = importlib.util.find_spec("onnxruntime")
    assert spec is not None
    assert spec.origin is not None
    libraries = list(Path(spec.origin).parent.glob("capi/*.so*"))
    assert libraries
    assert not [one.name for one in libraries if b"Microsoft12Applications6Events" in one.read_bytes()]
