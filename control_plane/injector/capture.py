"""How traffic meets the sidecar first: the model's port is renamed away, or the pod's ports are redirected. Pure.

`port`: a Service that names its target port finds the sidecar, because the name moves there; one that uses a number
must be pointed at the listener (Services in the same documents are, by `bartizan inject`). No privilege is needed, and
nothing stops who knows the model's port but a NetworkPolicy or a model that listens on loopback only.
`redirect`: an init container with NET_ADMIN writes rules (sidecar/capture) that lead every inbound TCP connection to
the listener, whatever port it asked for.
"""

from __future__ import annotations

from control_plane.injector import names
from control_plane.injector.config import Config
from control_plane.injector.container import security_context
from control_plane.injector.guesses import Guess
from control_plane.injector.options import Options
from control_plane.injector.pods import Document, Pod

_LONGEST_NAME = 15


def take_port_name(pod: Pod, document: Document, guess: Guess) -> str:
    """Move the name of the model's port to the sidecar; returns the sidecar's port name. `document` is changed."""
    taken = {port.name for _, each in pod.all_containers() for port in each.ports}
    for index, container in enumerate(pod.spec.containers):
        if container.name != guess.container:
            continue
        for position, port in enumerate(container.ports):
            if port.container_port == guess.port and port.name and port.protocol == "TCP":
                raw = document["spec"]["containers"][index]["ports"][position]
                raw["name"] = _free_name(f"model-{port.name}", taken)
                return port.name
    return names.LISTENER_PORT_NAME


def _free_name(wanted: str, taken: set[str]) -> str:
    name = wanted[:_LONGEST_NAME].rstrip("-")
    number = 2
    while name in taken:
        suffix = f"-{number}"
        name = wanted[: _LONGEST_NAME - len(suffix)].rstrip("-") + suffix
        number += 1
    return name


def capture_command(config: Config, listener_port: int, excluded: tuple[int, ...]) -> list[str]:
    """Of the init container; admission compares it word by word, but for the listener's port."""
    return [
        "bartizan",
        "capture",
        "--to-port",
        str(listener_port),
        "--sidecar-uid",
        str(config.user_id),
        "--exclude-inbound",
        ",".join(str(port) for port in (names.HEALTH_PORT, *excluded)),
        "--egress",
        config.egress,
        "--allow-egress",
        ",".join(config.egress_allow),
        "--egress-port",
        str(names.EGRESS_PORT if config.egress_names else 0),
    ]


def capture_container(config: Config, options: Options) -> Document:
    """The init container that writes the rules and ends. Root, because the kernel asks for NET_ADMIN."""
    context = security_context(0)
    context["capabilities"] = {"drop": ["ALL"], "add": ["NET_ADMIN"]}
    context["runAsNonRoot"] = False
    return {
        "name": names.CAPTURE_INIT,
        "image": config.image,
        "imagePullPolicy": config.image_pull_policy,
        "command": capture_command(config, options.listener_port, tuple(options.excluded)),
        "resources": {
            "requests": {"cpu": "10m", "memory": "64Mi"},
            "limits": {"memory": "128Mi"},
        },
        "securityContext": context,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
