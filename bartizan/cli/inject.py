"""`bartizan inject`: the mutating webhook's patch, offline; YAML in, YAML out."""

from __future__ import annotations

from pathlib import Path

import click

from bartizan.cli.connection import Connection, pass_connection
from bartizan.errors import InvalidInput, Problem
from bartizan.local.files import read_text

MANIFESTS = "the manifest"
CONFIG_OPTION = click.option(
    "--config",
    envvar="BARTIZAN_INJECTOR_CONFIG",
    type=click.Path(path_type=Path),
    help="The injector's configuration (injector.yaml).",
)


@click.command()
@click.option("-f", "--file", "files", multiple=True, default=("-",), help="Manifests; - is standard input.")
@CONFIG_OPTION
@click.option("--image", help="The sidecar's image by digest, instead of a configuration file.")
@click.option("-n", "--namespace", default="default", show_default=True, help="Of objects that name none.")
@pass_connection
def inject(
    connection: Connection, files: tuple[str, ...], config: Path | None, image: str | None, namespace: str
) -> None:
    """Add the sidecar to pods and workloads, as the cluster's webhook would; lead their Services to it.

    Prints all documents, changed or not. What was done is said on standard error. A pod that can't be guarded ends
    the command with status 2 and every reason; then nothing is printed.
    """
    from control_plane.injector.config import load_config, read_config
    from control_plane.injector.manifests import dump
    from control_plane.injector.offline import inject_documents
    from control_plane.injector.workloads import read_documents

    if config is not None:
        settings = load_config(config)
    elif image is not None:
        settings = read_config(dump([{"image": image}]), "--image")
    else:
        raise InvalidInput(
            "which sidecar?",
            [Problem(path="--config", code="missing", message="not given", hint="give --config or --image")],
        )
    printed, notes, problems = [], list[str](), list[Problem]()
    for file in files:
        documents = read_documents(read_text(file, MANIFESTS), file)
        result = inject_documents(documents, file, settings, namespace)
        printed += documents
        notes += result.notes
        problems += result.problems
    if problems:
        raise InvalidInput("these can't be guarded as asked", problems)
    for note in notes:
        click.echo(note, err=True)
    if connection.output.json:
        connection.output.data(printed)
    else:
        click.echo(dump(printed), nl=False)
