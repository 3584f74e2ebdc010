"""What a pod serves, guessed from images and command lines; every guess says what it is based on. Pure.

A guess never decides whether a pod is guarded; it names ports and fills the annotation from which a policy is written.
Default ports are those of the servers' own documentation.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from control_plane.injector import names
from control_plane.injector.pods import Container, Pod

KSERVE_LABEL: Final = "serving.kserve.io/inferenceservice"
KSERVE_CONTAINER: Final = "kserve-container"
KNATIVE_PROXY: Final = "queue-proxy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A model server: how its image and its command line look, and where it listens unless told otherwise."""

    name: str
    protocol: str
    port: int
    image: re.Pattern[str]
    command: re.Pattern[str] | None = None
    port_flags: tuple[str, ...] = ("--port",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """`container` is the model's; port 0: nothing names one. `reasons` says where each part comes from."""

    container: str
    engine: str = ""
    protocol: str = ""
    port: int = 0
    reasons: tuple[str, ...] = ()

    def shown(self) -> str:
        """For the annotation: what a person reads before writing the policy."""
        parts = [
            f"{key}={value}"
            for key, value in (
                ("container", self.container),
                ("engine", self.engine),
                ("protocol", self.protocol),
                ("port", self.port or ""),
            )
            if value
        ]
        return f"{' '.join(parts)}; {'; '.join(self.reasons)}" if self.reasons else " ".join(parts)


def _image(pattern: str) -> re.Pattern[str]:
    """Of the repository's path, without registry host, tag and digest."""
    return re.compile(pattern, re.IGNORECASE)


ENGINES: Final = (
    Engine(
        name="vllm",
        protocol="openai",
        port=8000,
        image=_image(r"(^|/)vllm"),
        command=re.compile(r"\bvllm (serve|api_server)\b|vllm\.entrypoints"),
    ),
    Engine(
        name="triton",
        protocol="opaque",
        port=8000,
        image=_image(r"(^|/)tritonserver"),
        command=re.compile(r"\btritonserver\b"),
        port_flags=("--http-port",),
    ),
    Engine(
        name="tgi",
        protocol="openai",
        port=80,
        image=_image(r"(^|/)text-generation-inference"),
        command=re.compile(r"\btext-generation-launcher\b"),
    ),
    Engine(name="tei", protocol="opaque", port=80, image=_image(r"(^|/)text-embeddings-inference")),
    Engine(
        name="sglang",
        protocol="openai",
        port=30000,
        image=_image(r"(^|/)sglang"),
        command=re.compile(r"\bsglang\.launch_server\b"),
    ),
    Engine(
        name="ollama",
        protocol="openai",
        port=11434,
        image=_image(r"(^|/)ollama$"),
        command=re.compile(r"\bollama serve\b"),
    ),
    Engine(
        name="llama.cpp",
        protocol="openai",
        port=8080,
        image=_image(r"(^|/)llama\.cpp$"),
        command=re.compile(r"\bllama-server\b"),
    ),
    Engine(
        name="huggingfaceserver",
        protocol="openai",
        port=8080,
        image=_image(r"(^|/)huggingfaceserver"),
        port_flags=("--http_port",),
    ),
    Engine(
        name="tensorflow-serving",
        protocol="opaque",
        port=8501,
        image=_image(r"(^|/)(tensorflow/)?serving$|tensorflow-serving"),
        command=re.compile(r"\btensorflow_model_server\b"),
        port_flags=("--rest_api_port",),
    ),
    Engine(name="torchserve", protocol="opaque", port=8080, image=_image(r"(^|/)torchserve")),
    Engine(name="mlserver", protocol="opaque", port=8080, image=_image(r"(^|/)mlserver")),
    Engine(
        name="kserve",
        protocol="opaque",
        port=8080,
        image=_image(r"(^|/)(sklearn|xgb|lgb|pmml|paddle)server$"),
        port_flags=("--http_port",),
    ),
)


def engine_of(container: Container) -> tuple[Engine, str] | None:
    """The engine and why; None for what nobody knows."""
    repository = _repository(container.image)
    for engine in ENGINES:
        if engine.image.search(repository):
            return engine, f"engine from image {repository}"
    line = " ".join(_words(container))
    for engine in ENGINES:
        if engine.command is not None and (found := engine.command.search(line)):
            return engine, f"engine from command {found[0]!r}"
    return None


def looks_like_model(pod: Pod) -> bool:
    """A model server's image or command, or a pod of KServe: such a pod may not just opt out."""
    return KSERVE_LABEL in pod.metadata.labels or any(
        engine_of(each) is not None for each in pod.spec.containers
    )


def guess(pod: Pod) -> Guess:
    """Annotations of the pod win over everything guessed."""
    said = pod.metadata.annotations
    container, because = _model_container(pod)
    reasons = [because] if because else []
    found = engine_of(container)
    engine, protocol = said.get(names.ENGINE, ""), said.get(names.PROTOCOL, "")
    if found is not None and (not engine or engine == found[0].name):
        reasons += [] if engine else [found[1]]
        engine, protocol = engine or found[0].name, protocol or found[0].protocol
    elif KSERVE_LABEL in pod.metadata.labels and not engine:
        engine, protocol = "kserve", protocol or "opaque"
        reasons.append(f"engine from label {KSERVE_LABEL}")
    port, why = _port(said.get(names.MODEL_PORT, ""), container, found[0] if found else None, engine)
    return Guess(
        container=container.name,
        engine=engine,
        protocol=protocol,
        port=port,
        reasons=(*reasons, *([why] if why else [])),
    )


def _model_container(pod: Pod) -> tuple[Container, str]:
    ours = [each for each in pod.spec.containers if each.name not in {names.SIDECAR, KNATIVE_PROXY}]
    containers = ours or list(pod.spec.containers)
    if len(containers) == 1:
        return containers[0], ""
    wanted = pod.metadata.annotations.get(names.MODEL_CONTAINER, "")
    port = pod.metadata.annotations.get(names.MODEL_PORT, "")
    rules = (
        ("", lambda each: each.name == wanted),
        (f"container by its name {KSERVE_CONTAINER}", lambda each: each.name == KSERVE_CONTAINER),
        ("container by its image or command", lambda each: engine_of(each) is not None),
        (
            "container by the port of the annotation",
            lambda each: any(str(one.container_port) == port for one in each.ports),
        ),
        ("first container with a port", lambda each: bool(each.ports)),
    )
    for because, fits in rules:
        for each in containers:
            if fits(each):
                return each, because
    return containers[0], "first container"


def _port(said: str, container: Container, engine: Engine | None, name: str) -> tuple[int, str]:
    if said.isascii() and said.isdigit():
        return int(said), ""
    if (given := _port_by_command(container, engine)) is not None:
        return given
    if engine is not None and any(each.container_port == engine.port for each in container.ports):
        return engine.port, "port from the container's ports"
    tcp = [each for each in container.ports if each.protocol == "TCP"]
    if tcp:
        return tcp[0].container_port, "port from the container's ports"
    if engine is not None:
        return engine.port, f"port is {engine.name}'s default"
    return (8080, "port is KServe's default") if name == "kserve" else (0, "")


def _port_by_command(container: Container, engine: Engine | None) -> tuple[int, str] | None:
    words = list(_words(container))
    for flag in engine.port_flags if engine else ("--port",):
        for index, word in enumerate(words):
            following = words[index + 1] if index + 1 < len(words) else ""
            value = following if word == flag else word.removeprefix(f"{flag}=") if "=" in word else ""
            if value.isascii() and value.isdigit() and 0 < int(value) < 65536:
                return int(value), f"port from {flag}"
    for variable in container.env:
        if variable.name == "PORT" and variable.value.isascii() and variable.value.isdigit():
            return int(variable.value), "port from the variable PORT"
    return None


def _words(container: Container) -> Iterator[str]:
    """The command line as words, also where a shell gets it as one string."""
    for argument in (*container.command, *container.args):
        if " " not in argument and "\n" not in argument:
            yield argument
            continue
        try:
            yield from shlex.split(argument, comments=True)
        except ValueError:
            yield from argument.split()


def _repository(image: str) -> str:
    """ "ghcr.io/org/name:tag@sha256:…" becomes "org/name"."""
    path = image.partition("@")[0]
    host, slash, rest = path.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        path = rest
    return path.partition(":")[0]
