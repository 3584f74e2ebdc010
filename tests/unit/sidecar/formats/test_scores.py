"""Scores of classic models in the shapes that servers write them: which are ranked together, and what each is called."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bartizan.policy.checks import OutputCheck, Pii, Probabilities
from bartizan.policy.schema import Route
from sidecar.checks.catalog import build_checks
from sidecar.checks.content import inspect_document
from sidecar.formats.base import Format
from sidecar.formats.json_fields import JsonFieldsFormat
from sidecar.formats.predict import PredictFormat

V1, V2 = PredictFormat("kserve_v1", strict=False), PredictFormat("kserve_v2", strict=True)
JSON = "application/json"


def coarse(form: Format, body: Any, *checks: OutputCheck) -> Any:
    document = form.decode_answer("/v2/models/m/infer", JSON, json.dumps(body).encode())
    inspect_document(document, build_checks(checks), shadow=False)
    return json.loads(document.encode())


def tensor(data: Any, shape: list[int], kind: str = "FP32") -> dict[str, Any]:
    return {"outputs": [{"name": "p", "shape": shape, "datatype": kind, "data": data}]}


CAT, DOG = {"label": "cat", "score": 0.71}, {"label": "dog", "score": 0.29}
NO_CAT, NO_DOG = {"label": "cat", "score": 0.0}, {"label": "dog", "score": 0.0}
SHAPES: dict[str, tuple[Any, Any, Any]] = {
    # as it is, what the best one leaves, what the label "dog" leaves
    "mapping": ({"cat": 0.71, "dog": 0.29}, {"cat": 0.71, "dog": 0.0}, {"cat": 0.0, "dog": 0.29}),
    "pairs": (
        {"results": [[["cat", 0.71], ["dog", 0.29]], [["dog", 0.6], ["cat", 0.4]]]},
        {"results": [[["cat", 0.71], ["dog", 0.0]], [["dog", 0.6], ["cat", 0.0]]]},
        {"results": [[["cat", 0.0], ["dog", 0.29]], [["dog", 0.6], ["cat", 0.0]]]},
    ),
    "objects": ({"predictions": [[CAT, DOG]]}, {"predictions": [[CAT, NO_DOG]]}, {"predictions": [[NO_CAT, DOG]]}),
    "one object": ({"prediction": CAT}, {"prediction": CAT}, {"prediction": NO_CAT}),
    "objects with more": (
        [{**CAT, "id": 7, "text": "x"}, {**DOG, "id": 8, "text": "y"}],
        [{**CAT, "id": 7, "text": "x"}, {**NO_DOG, "id": 8, "text": "y"}],
        [{**NO_CAT, "id": 7, "text": "x"}, {**DOG, "id": 8, "text": "y"}],
    ),
    "side by side": (
        {"labels": ["cat", "dog"], "scores": [0.71, 0.29]},
        {"labels": ["cat", "dog"], "scores": [0.71, 0.0]},
        {"labels": ["cat", "dog"], "scores": [0.0, 0.29]},
    ),
    "side by side and more": (
        {"ids": ["a", "b"], "Classes": ["cat", "dog"], "scores": [0.71, 0.29]},
        {"ids": ["a", "b"], "Classes": ["cat", "dog"], "scores": [0.71, 0.0]},
        {"ids": ["a", "b"], "Classes": ["cat", "dog"], "scores": [0.0, 0.29]},
    ),
    "in strings": (
        [{"label": "cat", "score": "0.71"}, {"label": "dog", "score": "0.29"}],
        [{"label": "cat", "score": "0.71"}, {"label": "dog", "score": "0.0"}],
        [{"label": "cat", "score": "0.0"}, {"label": "dog", "score": "0.29"}],
    ),
    "no labels": ([0.71, 0.29], [0.71, 0.0], [0.71, 0.29]),
    "whole numbers": ({"cat": 1, "dog": 0}, {"cat": 1, "dog": 0}, {"cat": 1, "dog": 0}),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_ranks_and_labels_hold_in_every_shape(shape: str) -> None:
    body, best, dogs = SHAPES[shape]
    assert coarse(V1, body, Probabilities(decimals=2)) == body
    assert coarse(V1, body, Probabilities(top=1)) == best
    assert coarse(V1, body, Probabilities(labels=("dog",))) == dogs


@pytest.mark.parametrize(
    ("data", "shape", "kind", "best"),
    [
        ([0.9, 0.1, 0.3, 0.7], [2, 2], "FP32", [0.9, 0.0, 0.0, 0.7]),
        ([[0.9, 0.1], [0.3, 0.7]], [2, 2], "FP32", [[0.9, 0.0], [0.0, 0.7]]),
        ([0.9, 0.1], [2], "FP32", [0.9, 0.0]),
        ([0.9, 0.1], [2, 1], "FP32", [0.9, 0.1]),
        ([0.9, 0.1], [2, -1], "FP32", [0.9, 0.0]),
        ([0.9, 0.1, 0.3], [2, 2], "FP32", [0.9, 0.0, 0.0]),
        (["0.9:1:cat", "0.1:0:dog"], [2], "BYTES", ["0.9:1:cat", "0.0:0:dog"]),
        (["0.9:1", "0.1:0", "0.3:0", "0.7:1"], [2, 2], "BYTES", ["0.9:1", "0.0:0", "0.0:0", "0.7:1"]),
        (["7:1:cat", "12:30", "0.9:x"], [3], "BYTES", ["7:1:cat", "12:30", "0.9:x"]),
    ],
)
def test_each_row_of_a_tensor_is_ranked_for_itself(data: Any, shape: list[int], kind: str, best: Any) -> None:
    assert coarse(V2, tensor(data, shape, kind), Probabilities(top=1)) == tensor(best, shape, kind)


def test_scores_that_a_caller_asks_for_as_text_are_rounded_and_their_labels_count() -> None:
    data = ["0.876544:1:cat", "1.23456e-02:0:dog", "0.100001:2:jane@example.org"]
    rounded = ["0.88:1:cat", "0.01:0:dog", "0.1:2:[EMAIL]"]
    checks = (Pii(types=("email",)), Probabilities(decimals=2))
    assert coarse(V2, tensor(data, [3], "BYTES"), *checks) == tensor(rounded, [3], "BYTES")
    cats = ["0.88:1:cat", "0.0:0:dog", "0.0:2:jane@example.org"]
    left = coarse(V2, tensor(data, [3], "BYTES"), Probabilities(decimals=2, labels=("cat",)))
    assert left == tensor(cats, [3], "BYTES")


def test_declared_scores_of_objects_have_the_labels_beside_them() -> None:
    form = JsonFieldsFormat([Route(path="/v2/models/m/infer", output_scores=("$.found[*].score",))])
    body = {"found": [{**CAT, "margin": "wide"}, {**DOG, "margin": "thin"}]}
    left = coarse(form, body, Probabilities(labels=("dog",)))
    assert [one["score"] for one in left["found"]] == [0.0, 0.29]
    assert [one["score"] for one in coarse(form, body, Probabilities(top=1))["found"]] == [0.71, 0.0]
