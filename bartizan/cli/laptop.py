"""`bartizan demo`, `up` and `down`: the whole stack on one machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

from bartizan.cli.connection import Connection, pass_connection
from bartizan.errors import Conflict, DependencyUnavailable, NotFound, ProcessFailed
from bartizan.local import up as laptop_up
from bartizan.local import up_state
from bartizan.local.doctor import disk, listening_addresses
from bartizan.local.paths import state_folder

_ENVOYS_END_SECONDS = 5.0


@click.command()
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    default=Path("build/demo.json"),
    show_default=True,
    help="Where the results go (JSON).",
)
def demo(report: Path) -> None:
    """Start everything on loopback, play the main job step by step, and stop it all again."""
    from rich.console import Console

    from bartizan.local.demo.main import run

    # Into a pipe or a log the table needs no narrow columns.
    passed = asyncio.run(run(report, Console(width=None if sys.stdout.isatty() else 120)))
    sys.exit(0 if passed else 1)


@click.command()
@click.option("--model", required=True, metavar="URL", help="Your model, http://127.0.0.1:PORT.")
@click.option(
    "--policy", "policy_file", required=True, type=click.Path(path_type=Path), help="Policy file (YAML)."
)
@click.option(
    "--listen", default="127.0.0.1:8443", show_default=True, help="Where clients connect; :8443 for all."
)
@click.option(
    "--cert", type=click.Path(path_type=Path), help="Certificate chain (PEM). Without: self-signed."
)
@click.option("--key", type=click.Path(path_type=Path), help="Its key (PEM).")
@click.option(
    "--state", type=click.Path(path_type=Path), help="State folder. Default: ~/.local/share/bartizan."
)
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="NAME=FILE",
    help="Define an upstream credential (YAML); may repeat.",
)
@click.option("--detach", is_flag=True, help="Return when everything is ready; `bartizan down` ends it.")
@click.option(
    "--detached", is_flag=True, hidden=True, help="Of --detach's own child: who asked is told by it."
)
@click.option("--copy-state", type=click.Path(path_type=Path), hidden=True)
@click.option("--wait", "seconds", default=120, show_default=True, help="Seconds to wait with --detach.")
@pass_connection
def up(
    connection: Connection,
    model: str,
    policy_file: Path,
    listen: str,
    cert: Path | None,
    key: Path | None,
    state: Path | None,
    secrets: tuple[str, ...],
    detach: bool,
    detached: bool,
    copy_state: Path | None,
    seconds: int,
) -> None:
    """Put OpenBao, a control plane and a sidecar before your own model, and keep them running."""
    folder = (state or state_folder()).resolve()
    if unnamed := [given for given in secrets if not given.partition("=")[0] or "=" not in given]:
        raise click.BadParameter(f"{unnamed[0]!r} is not NAME=FILE", param_hint="--secret")
    arguments = laptop_up.Arguments(
        model=model,
        policy_file=policy_file,
        listen=listen,
        cert=cert,
        key=key,
        state=folder,
        secrets={name: Path(file) for name, _, file in (given.partition("=") for given in secrets)},
    )
    document = laptop_up.prepare(arguments)  # bad input is told before anything starts
    if up_state.read_state(folder) is not None:
        raise Conflict(f"a stack already runs on {folder}: `bartizan down` ends it")
    _wait_for_the_listener(document)
    if (room := disk(folder)).result == "bad":
        click.echo(f"warning: {room.found}: {room.mend}", err=True)
    if not detach:
        _warn_of_a_silent_model(document)

        def ready() -> None:
            running = None if detached else up_state.read_state(folder)
            if running is not None:
                _tell(connection, running, document, folder)

        asyncio.run(laptop_up.run(arguments, lambda what: click.echo(what, err=True), ready))
        return
    running = _detach(folder, seconds)
    _warn_of_a_silent_model(document)
    if copy_state is not None:
        shutil.copyfile(folder / "up.json", copy_state)
    _tell(connection, running, document, folder)


def _tell(connection: Connection, running: up_state.UpState, document: dict[str, Any], folder: Path) -> None:
    connection.output.text(
        f"{running.policy} version {running.version} is enforced at {running.listen}\n"
        f"addresses, sockets and pids: {folder / 'up.json'}\n"
        f"{_next_step(document, folder)}",
        data=running,
    )


def _wait_for_the_listener(document: dict[str, Any]) -> None:
    """Raises DependencyUnavailable when another program keeps it. An Envoy whose agent was killed ends in a moment."""
    address, port = document["spec"]["listener"]["address"], document["spec"]["listener"]["port"]
    deadline = time.monotonic() + _ENVOYS_END_SECONDS
    while not laptop_up.listener_is_free(address, port):
        if time.monotonic() > deadline:
            raise DependencyUnavailable(
                f"another program listens on port {port} of {address}: end it (`ss -ltnp` names it), "
                "or choose another port with --listen"
            )
        time.sleep(0.1)


def _warn_of_a_silent_model(document: dict[str, Any]) -> None:
    port = int(document["spec"]["model"].get("port", 8000))
    if not listening_addresses(port):
        click.echo(f"warning: nothing listens on port {port} yet: start your model", err=True)


def _next_step(document: dict[str, Any], folder: Path) -> str:
    """What gets the first answer: a key of the policy's set, or a look at the state."""
    # commands look into the usual folder: for another one it must be named
    command = "bartizan" if folder == state_folder().resolve() else f"BARTIZAN_HOME={folder} bartizan"
    keys = document["spec"]["authn"].get("apiKeys")
    if keys is None:
        return f"look at it: {command} status"
    tenant = next(iter(document["spec"].get("tenants", ())), "TENANT")
    return f"issue a key: {command} keys issue {keys['set']} --tenant {tenant} --out key.txt"


def _detach(folder: Path, seconds: int) -> up_state.UpState:
    """Run the same command without --detach in a session of its own, and wait for up.json."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = folder / "up.log"
    arguments = [argument for argument in sys.argv[1:] if argument != "--detach"] + ["--detached"]
    with log.open("wb") as output:
        child = subprocess.Popen(  # the stack outlives this command
            [sys.executable, "-m", "bartizan", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + seconds
    said = ""
    with log.open(errors="replace") as told:
        while time.monotonic() < deadline:
            state = up_state.read_state(folder)
            code = child.poll()
            said += (new := told.read())
            click.echo(new, nl=False, err=True)
            if state is not None and state.pid == child.pid:
                return state
            if code is not None:
                if not said:
                    raise ProcessFailed(f"the stack ended ({code}) and could not say why in {log}")
                sys.exit(code if code > 0 else 1)
            time.sleep(0.1)
    child.terminate()
    raise ProcessFailed(f"the stack was not ready in {seconds} s; see {log} and the logs in {folder}")


@click.command()
@click.option(
    "--state", type=click.Path(path_type=Path), help="State folder. Default: ~/.local/share/bartizan."
)
@pass_connection
def down(connection: Connection, state: Path | None) -> None:
    """Stop what `bartizan up` started. State stays."""
    folder = (state or state_folder()).resolve()
    running = up_state.read_state(folder)
    if running is None:
        raise NotFound(f"nothing runs on {folder}")
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        # its file goes before it does: another `up` may follow at once
        if up_state.read_state(folder) is None and not up_state.runs(running):
            connection.output.text("stopped", data={"stopped": running.pid})
            return
        time.sleep(0.1)
    raise ProcessFailed(f"process {running.pid} did not end in 60 s; its logs are in {folder}")
