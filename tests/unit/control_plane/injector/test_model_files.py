"""Where an injected sidecar finds the files of classifiers."""

from __future__ import annotations

import pytest

from bartizan.errors import InvalidInput
from control_plane.injector.config import read_config
from control_plane.injector.container import MODELS_MOUNT
from sidecar.checks.classifier.model_files import DEFAULT_FOLDER
from tests.support.pod_cases import IMAGE


def test_model_files_are_mounted_where_the_sidecar_looks_for_them() -> None:
    assert MODELS_MOUNT == DEFAULT_FOLDER


@pytest.mark.parametrize(
    "wrong",
    [
        "guard-models",
        "claim/",
        "claim/Guard",
        "secret/guard",
        "hostPath//models",
        "image/registry.example/guard:1",
        "claim/guard/more",
    ],
)
def test_a_configuration_with_another_source_is_refused_by_its_field(wrong: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_config(f"image: {IMAGE}\nmodelFiles: {wrong}\n")
    (problem,) = caught.value.problems
    assert problem.path == "injector.yaml: modelFiles"
