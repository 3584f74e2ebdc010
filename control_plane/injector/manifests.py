"""`python -m control_plane.injector.manifests CONFIG FILE` writes the admission manifests for a configuration.

`make reference` does so for deploy/k8s/base/admission, and a test compares: the files can't drift from the rules. For
an image of your own: `bartizan injector manifests --config injector.yaml`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from control_plane.injector.admission_policy import admission_policy
from control_plane.injector.config import Config, check_exempt, load_config
from control_plane.injector.webhook_configuration import webhook_configurations

_HEADER = (
    "# Generated from injector.yaml by `make reference`, or by `bartizan injector manifests`. Do not edit.\n"
)


class _Plain(yaml.SafeDumper):
    """Without anchors: kustomize reads them, people don't."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def admission_manifests(config: Config, namespace: str = "bartizan-system") -> str:
    """YAML of the ValidatingAdmissionPolicies, their bindings and both webhook configurations.

    Raises InvalidInput when the configuration does not exempt `namespace`, where Bartizan itself runs.
    """
    check_exempt(config, namespace)
    documents = [*admission_policy(config), *webhook_configurations(config, namespace)]
    return _HEADER + dump(documents)


def dump(documents: list[Any]) -> str:
    """Several YAML documents, keys in their order."""
    text: str = yaml.dump_all(
        documents, Dumper=_Plain, sort_keys=False, width=118, explicit_start=len(documents) > 1
    )
    return text


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(admission_manifests(load_config(Path(sys.argv[1]))))
