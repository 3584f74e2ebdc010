"""up.json: where everything of a running `bartizan up` is, so that scripts and other commands can drive it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bartizan.local.state_file import UNREADABLE

if TYPE_CHECKING:  # every command reads the file, one starts a stack
    from bartizan.local.stack import Stack


class UpState(msgspec.Struct, frozen=True, kw_only=True):
    """It holds no secret, only paths to files. Written again after every restart of a process."""

    pid: int
    started: int
    """The kernel's start time of `pid`: another process that gets this number later is not taken for it."""
    state: str
    listen: str
    policy: str
    version: int
    model: str
    api: str
    token_file: str
    ca_file: str
    grpc: str
    health: str
    openbao: str
    run_dir: str
    sockets: dict[str, str]
    pids: dict[str, int]
    certificate: str


async def write_state(
    house: Stack, document: dict[str, Any], model: str, version: int, certificate: Path
) -> None:
    """Write it anew, atomically, unless it says the same."""
    metadata, listener = document["metadata"], document["spec"]["listener"]
    address = str(listener.get("address", "0.0.0.0"))
    sockets = ("xds", "als", "otlp", "admin", *(f"guard-{number}" for number in range(house.workers)))
    state = UpState(
        pid=os.getpid(),
        started=started_at(os.getpid()),
        state=str(house.state),
        listen=f"https://{f'[{address}]' if ':' in address else address}:{listener.get('port', 8443)}",
        policy=f"{metadata.get('namespace', 'default')}/{metadata['name']}",
        version=version,
        model=model,
        api=house.api_url,
        token_file=str(house.token_file),
        ca_file=str(house.ca_file),
        grpc=f"127.0.0.1:{house.ports.grpc}",
        health=house.health_url,
        openbao=house.bao.address,
        run_dir=str(house.run_dir),
        sockets={name: str(house.run_dir / f"{name}.sock") for name in sockets},
        pids=await _pids(house),
        certificate=str(certificate.absolute()),
    )
    written, file = msgspec.json.format(msgspec.json.encode(state), indent=2), house.state / "up.json"
    if file.exists() and file.read_bytes() == written:
        return
    partial = house.state / "up.json.partial"
    partial.write_bytes(written)
    partial.replace(file)


async def _pids(house: Stack) -> dict[str, int]:
    pids = {"openbao": house.bao.pid}
    for name, child in (("control_plane", house.control_plane), ("sidecar", house.sidecar)):
        if child is not None and child.running:
            pids[name] = child.pid
    import aiohttp

    # The agent's own children, which it starts again by itself; while it starts they are not known.
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, KeyError):
        status = await house.sidecar_status()
        pids["envoy"] = int(status["envoy"]["pid"] or 0)
        pids |= {f"worker-{number}": pid for number, pid in enumerate(status["workers"]["pids"])}
    return pids


def read_state(folder: Path) -> UpState | None:
    """up.json of a running stack, None when none runs."""
    try:
        state = msgspec.json.decode((folder / "up.json").read_bytes(), type=UpState)
        return state if runs(state) else None
    except (OSError, *UNREADABLE):
        return None


def runs(state: UpState) -> bool:
    """Whether its process has not ended. One that ended and that nobody has taken note of (a zombie) has."""
    try:
        return _stat(state.pid)[0] not in {"Z", "X"} and started_at(state.pid) == state.started
    except OSError:
        return False


def started_at(pid: int) -> int:
    """When a process started, in clock ticks since boot (proc(5), stat field 22). Raises OSError when there is none."""
    return int(_stat(pid)[19])


def _stat(pid: int) -> list[str]:
    """Its fields from the third on."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
