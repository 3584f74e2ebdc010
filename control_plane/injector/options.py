"""What a pod's annotations ask of its sidecar, over the injector's configuration; every mistake at once. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar, cast

from bartizan.errors import Problem
from control_plane.injector import names
from control_plane.injector.config import (
    MODEL_FILES,
    OBJECT_NAME,
    QUANTITY,
    REASON,
    CaptureMode,
    Config,
    ResourceList,
    Resources,
)

_NAME: Final = re.compile(OBJECT_NAME)
_WORD: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LEVELS: Final = ("debug", "info", "warning", "error")

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One pod's settings. Ports are numbers, drain in seconds; "" and () where nothing was asked."""

    capture: CaptureMode
    native: bool
    listener_port: int
    drain_seconds: int
    workers: int
    log_level: str
    rewrite_probes: bool
    bind_loopback: bool
    """Tell the model's server to listen on loopback only."""
    tls_secret: str
    model_files: str
    """claim/NAME, configmap/NAME, image/NAME@sha256:… or none."""
    excluded: Mapping[int, str]
    """Ports left open, and why ("" if nothing was said): ways around the guard, which analyze reports."""
    resources: Resources


def read_options(config: Config, annotations: Mapping[str, str]) -> tuple[Options, tuple[Problem, ...]]:
    """Options and every wrong annotation; with a problem the options are of no use."""
    read = _Reader(annotations)
    read.known()
    for name, convert in (
        (names.MODEL_PORT, _port),
        (names.MODEL_CONTAINER, _matching(_NAME)),
        (names.ENGINE, _matching(_WORD)),
        (names.PROTOCOL, _matching(_WORD)),
    ):
        read.get(name, convert, None)
    requests, limits = config.resources.requests, config.resources.limits
    options = Options(
        capture=read.get(names.CAPTURE, _capture, config.capture),
        native=read.get(names.NATIVE, _boolean, config.native_sidecar),
        listener_port=read.get(names.LISTENER_PORT, _high_port, config.listener_port),
        drain_seconds=read.get(names.DRAIN_SECONDS, _whole(0, 3600), config.drain_seconds),
        workers=read.get(names.WORKERS, _whole(1, 64), config.workers),
        log_level=read.get(names.LOG_LEVEL, _level, str(config.log_level)),
        rewrite_probes=read.get(names.REWRITE_PROBES, _boolean, config.rewrite_probes),
        bind_loopback=read.get(names.BIND_LOOPBACK, _boolean, False),
        tls_secret=read.get(names.TLS_SECRET, _matching(_NAME), ""),
        model_files=read.get(names.MODEL_FILES, _model_files, str(config.model_files)),
        excluded=read.get(names.EXCLUDE_INBOUND, _ports, {}),
        resources=Resources(
            requests=ResourceList(
                cpu=read.get(names.CPU_REQUEST, _quantity, requests.cpu),
                memory=read.get(names.MEMORY_REQUEST, _quantity, requests.memory),
            ),
            limits=ResourceList(
                cpu=read.get(names.CPU_LIMIT, _quantity, limits.cpu),
                memory=read.get(names.MEMORY_LIMIT, _quantity, limits.memory),
            ),
        ),
    )
    return options, tuple(read.problems)


class _Reader:
    def __init__(self, annotations: Mapping[str, str]) -> None:
        self._annotations = annotations
        self.problems: list[Problem] = []

    def known(self) -> None:
        """A misspelt annotation would silently do nothing."""
        for name in sorted(self._annotations):
            if not name.startswith(names.DOMAIN) or name in names.READ | names.WRITTEN:
                continue
            close = difflib.get_close_matches(name, names.READ, n=1)
            hint = f"did you mean {close[0]}?" if close else "remove it"
            if name in {names.INJECT, names.INJECTION, names.ENFORCE, names.GUARDED}:
                hint = "this one is a label, not an annotation"
            self._add(name, "unknown_annotation", "no such annotation", hint)

    def get(self, name: str, convert: Callable[[str], T], default: T) -> T:
        text = self._annotations.get(name)
        if text is None:
            return default
        try:
            return convert(text)
        except ValueError as error:
            self._add(name, "invalid_annotation", f"{text[:64]!r}: {error}", "mend or remove it")
            return default

    def _add(self, name: str, code: str, message: str, hint: str) -> None:
        path = f"metadata.annotations[{name}]"
        self.problems.append(Problem(path=path, code=code, message=message, hint=hint))


def _capture(text: str) -> CaptureMode:
    if text not in {"port", "redirect"}:
        raise ValueError("must be port or redirect")
    return cast("CaptureMode", text)


def _boolean(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError('must be "true" or "false"')
    return text == "true"


def _whole(least: int, most: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 5 or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return convert


_port = _whole(1, 65535)
_high_port = _whole(1024, 65535)


def _ports(text: str) -> dict[int, str]:
    """ "9100=metrics exporter, 9101"."""
    found = {}
    for entry in filter(None, (each.strip() for each in text.split(","))):
        port, equals, reason = (part.strip() for part in entry.partition("="))
        if equals and re.fullmatch(REASON, reason) is None:
            raise ValueError(f"the reason after {port}= must match {REASON}")
        found[_port(port)] = reason
    return dict(sorted(found.items()))


def _model_files(text: str) -> str:
    if re.fullmatch(MODEL_FILES, text) is None:
        raise ValueError("must be claim/NAME, configmap/NAME, image/NAME@sha256:… or none")
    return text


def _level(text: str) -> str:
    if text not in _LEVELS:
        raise ValueError(f"must be one of {', '.join(_LEVELS)}")
    return text


def _quantity(text: str) -> str:
    if re.fullmatch(QUANTITY, text) is None:
        raise ValueError("must be a quantity such as 250m or 512Mi")
    return text


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if pattern.fullmatch(text) is None:
            raise ValueError(f"must match {pattern.pattern}")
        return text

    return convert
