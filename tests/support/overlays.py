"""What kustomize makes of deploy/k8s, built once for each overlay."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "deploy/k8s"
KUBECTL = Path(sys.executable).with_name("kubectl")


def loaded(text: str) -> list[dict[str, Any]]:
    return list(yaml.load_all(text, Loader=yaml.CSafeLoader))


@cache
def built(overlay: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [KUBECTL, "kustomize", K8S / "overlays" / overlay], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr
    return loaded(done.stdout)


@cache
def with_webhooks_in_control_plane(folder: Path) -> list[dict[str, Any]]:
    """The production overlay with that component, as an overlay of one's own would have it."""
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(K8S / "overlays/prod", folder)],
        "components": [os.path.relpath(K8S / "components/webhooks-in-control-plane", folder)],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(document))
    done = subprocess.run(
        [KUBECTL, "kustomize", folder, "--load-restrictor", "LoadRestrictionsNone"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return loaded(done.stdout)


def kinds(overlay: str, kind: str) -> list[dict[str, Any]]:
    return [each for each in built(overlay) if each["kind"] == kind]


def pods(overlay: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (each["metadata"]["name"], each["spec"]["template"]["spec"]) for each in kinds(overlay, "Deployment")
    ]
