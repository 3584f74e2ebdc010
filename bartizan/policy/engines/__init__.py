"""Profiles of model servers as data: which of their routes are what, and virtual patches. One TOML file an engine.

Used by validation (a policy may not declare an administration route), by the compiler (routes, refusals, patches) and by
`bartizan policy compile --explain`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import msgspec

Engine = Literal[
    "vllm",
    "sglang",
    "tgi",
    "triton",
    "ollama",
    "llama.cpp",
    "torchserve",
    "tensorflow-serving",
    "kserve",
    "fastapi",
    "other",
]
RouteClass = Literal["inference", "health", "metadata", "metrics", "admin", "debug"]
Exposed = Literal["health", "metadata", "metrics"]
CLASSES: Final[tuple[RouteClass, ...]] = get_args(RouteClass)
NEVER: Final = frozenset({"admin", "debug"})
"""Classes that no policy can open."""
Refusal = Literal["present", "empty", "invalid_regex", "unknown_type", "above_128"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRoute:
    """One route. `method` is "" where every method means the same; a `*` in the path stands for one segment."""

    kind: RouteClass
    path: str
    method: str = ""

    @property
    def pattern(self) -> str:
        """The path as a regular expression of RE2."""
        return re.escape(self.path).replace(r"\*", "[^/]+")

    def fits(self, method: str, path: str) -> bool:
        return self.method in {"", method} and re.fullmatch(self.pattern, path) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One engine."""

    name: str
    title: str
    routes: tuple[EngineRoute, ...]

    def kind_of(self, method: str, path: str) -> RouteClass | None:
        """What a route is to this engine; None for one that it is not known to have. The strictest reading counts."""
        kinds = [route.kind for route in self.routes if route.fits(method, path)]
        return max(kinds, key=CLASSES.index, default=None)


class PatchRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One virtual patch as it travels: members `below` of a JSON body, names `keys` in them, and what is refused there."""

    id: str
    below: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    refuse: Refusal = "present"


@functools.cache
def profiles() -> Mapping[str, Profile]:
    """All profiles by engine. "other" has none."""
    return {name: _profile(name) for name in get_args(Engine) if name != "other"}


@functools.cache
def patches(engine: str) -> tuple[PatchRule, ...]:
    """The rules on bodies for an engine."""
    return tuple(
        PatchRule(
            id=entry["id"],
            below=tuple(entry.get("below", ())),
            keys=tuple(entry.get("keys", ())),
            refuse=entry["refuse"],
        )
        for entry in patch_data()["patch"]
        if engine in entry["engines"]
    )


@functools.cache
def patch_data() -> dict[str, list[dict[str, Any]]]:
    """The file of patches as it is: also versions, sources, and vulnerabilities that refused routes cover."""
    return _read("patches")


def _profile(name: str) -> Profile:
    data = _read(name)
    routes: list[EngineRoute] = []
    for kind in CLASSES:
        for written in data[kind]:
            method, _, path = written.rpartition(" ")
            routes.append(EngineRoute(kind=kind, path=path, method=method))
    return Profile(name=name, title=data["title"], routes=tuple(routes))


def _read(name: str) -> dict[str, Any]:
    import tomllib  # a sidecar names types of this module, and reads no profile

    return tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text("utf-8"))
