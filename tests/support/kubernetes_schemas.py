"""Kubernetes' own schemas (wheel kubernetes-validate), strict: an unknown field is an error. Each is loaded once."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import jsonschema
from referencing import Registry, Resource

NEWEST = "1.37.0"
OLDEST_NATIVE = "1.29.0"
"""The first release with native sidecars switched on."""


def schema_errors(document: Mapping[str, Any], version: str = NEWEST) -> list[str]:
    """ "path: message" of everything that this release of Kubernetes would refuse."""
    validator = _validator(document["kind"], document["apiVersion"], version)
    errors = sorted(validator.iter_errors(document), key=lambda error: error.json_path)
    return [f"{error.json_path}: {error.message[:200]}" for error in errors]


@functools.cache
def _validator(kind: str, api_version: str, version: str) -> jsonschema.Draft202012Validator:
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    schema = _load(version, f"{kind.lower()}-{group}.json")
    registry: Registry[Any] = Resource.from_contents(_load(version, "_definitions.json")) @ (
        Resource.from_contents(schema) @ Registry()
    )
    return jsonschema.Draft202012Validator(schema, registry=registry)


@functools.cache
def _load(version: str, name: str) -> Any:
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}-local-strict"
    return json.loads((folder / name).read_text())
