"""Plays the kubelet for one container: volumes, environment and command as the pod in the API server says them.

A process has no mount and no network namespace of its own here, so paths below a mount are moved into a folder, and
the health port, which every pod has, is a free one.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bartizan.local.processes import Child, free_port, start
from tests.k8s.control import KubeCluster

POD_IP = "::1"
"""Loopback, but not where a model listens that keeps to 127.0.0.1, as a pod's own address is for a real one; and other
processes of this machine, which a pod would not have, rarely listen there.
"""


@dataclass
class Kubelet:
    cluster: KubeCluster
    folder: Path
    image: Mapping[str, str] = field(default_factory=dict)
    """Variables that the image sets by itself."""
    health: int = field(default_factory=free_port)
    child: Child | None = None

    async def start(self, pod: dict[str, Any], name: str) -> Child:
        """The container of that name, as a process."""
        spec = pod["spec"]
        (container,) = [
            each for each in [*spec["containers"], *spec.get("initContainers", [])] if each["name"] == name
        ]
        volumes = {each["name"]: each for each in spec.get("volumes", [])}
        places: dict[str, Path] = {}
        for mount in container["volumeMounts"]:
            place = self.folder / mount["name"].removeprefix("bartizan-")
            place.mkdir(parents=True, exist_ok=True)
            await self._fill(place, volumes[mount["name"]], pod)
            places[mount["mountPath"]] = place
        environment = {**self.image, **{each["name"]: _value(each, pod) for each in container["env"]}}
        environment = {name: _moved(value, places) for name, value in environment.items()}
        environment["BARTIZAN_HEALTH_LISTEN"] = f"127.0.0.1:{self.health}"
        assert container["command"][0] == "bartizan"
        command = [sys.executable, "-m", "bartizan", *container["command"][1:], *container.get("args", [])]
        self.child = await start(name, command, log=self.folder / f"{name}.log", env=environment)
        return self.child

    async def _fill(self, place: Path, volume: dict[str, Any], pod: dict[str, Any]) -> None:
        namespace = pod["metadata"]["namespace"]
        if "emptyDir" in volume:
            return
        if "configMap" in volume:
            wanted = volume["configMap"]
            found = await self.cluster.server.get(
                f"/api/v1/namespaces/{namespace}/configmaps/{wanted['name']}"
            )
            files = {key: value.encode() for key, value in found.get("data", {}).items()}
            files |= {key: base64.b64decode(value) for key, value in found.get("binaryData", {}).items()}
            paths = {item["key"]: item["path"] for item in wanted.get("items", [])}
            _put_files(place, {paths.get(key, key): content for key, content in files.items()})
            return
        for source in volume["projected"]["sources"]:
            ask = source["serviceAccountToken"]
            token = await self.cluster.token(
                namespace,
                pod["spec"]["serviceAccountName"],
                pod=pod,
                audiences=[ask["audience"]],
                expirationSeconds=ask["expirationSeconds"],
            )
            (place / ask["path"]).write_text(token)


def _put_files(place: Path, files: Mapping[str, bytes]) -> None:
    """As links into a folder behind another link, which is how a kubelet changes all of them at once."""
    (place / "..2026").mkdir()
    (place / "..data").symlink_to("..2026")
    for name, content in files.items():
        (place / "..2026" / name).write_bytes(content)
        (place / name).symlink_to(f"..data/{name}")


def _value(entry: dict[str, Any], pod: dict[str, Any]) -> str:
    if "valueFrom" not in entry:
        return str(entry.get("value", ""))
    path = entry["valueFrom"]["fieldRef"]["fieldPath"]
    told = {"status.podIPs": POD_IP, "spec.nodeName": "node-1"}
    if path in told:
        return told[path]
    found: Any = pod
    for step in path.split("."):
        found = found[step]
    return str(found)


def _moved(value: str, places: dict[str, Path]) -> str:
    for mount, place in places.items():
        if value == mount or value.startswith(f"{mount}/"):
            return str(place) + value.removeprefix(mount)
    return value
