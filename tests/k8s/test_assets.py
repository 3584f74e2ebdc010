"""Stands for the whole folder where there is no kube-apiserver."""

from __future__ import annotations

import subprocess

import pytest

from tests.k8s.control import assets


def test_the_api_server_runs() -> None:
    found = assets()
    if found is None:
        pytest.skip("no kube-apiserver: tests/k8s is not run; see CONTRIBUTING.md, make test-k8s")
    said = subprocess.run([found / "kube-apiserver", "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("Kubernetes v1.")
