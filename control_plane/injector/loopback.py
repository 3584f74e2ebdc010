"""Model servers that are known can be told to listen on loopback only: then nobody gets around Envoy, without rules. Pure.

Only where a pod asks for it, and only by arguments that the server documents; what can't be done is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bartizan.errors import Problem
from control_plane.injector import names
from control_plane.injector.guesses import Guess
from control_plane.injector.pods import Container, Document, Pod

FLAGS: Final[Mapping[str, tuple[str, ...]]] = {
    "vllm": ("--host",),
    "sglang": ("--host",),
    "llama.cpp": ("--host",),
    "tgi": ("--hostname",),
    "triton": ("--http-address", "--grpc-address"),
}
"""Engine -> its options for the address that it listens on."""
LOOPBACK: Final = "127.0.0.1"
_ALREADY: Final = frozenset({LOOPBACK, "localhost", "::1"})
_SHELLS: Final = frozenset({"sh", "bash", "ash", "dash"})


def loopback_problem(pod: Pod, guess: Guess) -> Problem | None:
    """Why the server can't be told; None when it can."""
    index, container = _model(pod, guess)
    flags = FLAGS.get(guess.engine)
    if flags is None:
        message = f"how to tell the engine {guess.engine or '(unknown)'} to listen on loopback is not known"
    elif container.command and container.command[0].rpartition("/")[2] in _SHELLS:
        message = "the server is started by a shell, whose words can't be added to"
    elif not container.command and not container.args:
        message = "the server is started by its image's own arguments, which adding one would replace"
    elif other := [flag for flag in flags if (_value(container, flag) or LOOPBACK) not in _ALREADY]:
        message = f"{other[0]} names another address"
    else:
        return None
    return Problem(
        path=f"spec.containers[{index}].args",
        code="loopback_not_possible",
        message=message,
        hint=f"let the model listen on {LOOPBACK} yourself, and remove {names.BIND_LOOPBACK}",
    )


def bind_loopback(pod: Pod, document: Document, guess: Guess) -> None:
    """Add the arguments that are missing. `document` is changed."""
    index, container = _model(pod, guess)
    added = [f"{flag}={LOOPBACK}" for flag in FLAGS[guess.engine] if _value(container, flag) is None]
    if added:
        document["spec"]["containers"][index]["args"] = [*container.args, *added]


def _model(pod: Pod, guess: Guess) -> tuple[int, Container]:
    return next(each for each in enumerate(pod.spec.containers) if each[1].name == guess.container)


def _value(container: Container, flag: str) -> str | None:
    """What the command line gives an option; None where it does not name it."""
    words = [*container.command, *container.args]
    for index, word in enumerate(words):
        if word == flag:
            return words[index + 1] if index + 1 < len(words) else ""
        if word.startswith(f"{flag}="):
            return word.removeprefix(f"{flag}=")
    return None
