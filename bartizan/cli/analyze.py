"""`bartizan analyze`: finds ways around the guard in manifests or in a running cluster."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import click

from bartizan.cli.connection import Connection, pass_connection
from bartizan.cli.inject import CONFIG_OPTION, MANIFESTS
from bartizan.errors import InvalidInput, Problem
from bartizan.local.files import read_text

SUFFIXES = frozenset({".yaml", ".yml", ".json"})


@click.command()
@click.argument("paths", nargs=-1)
@click.option("--cluster", is_flag=True, help="Look at what runs.")
@click.option(
    "--kubeconfig",
    envvar="KUBECONFIG",
    default="in-cluster",
    help="For --cluster; without one the pod's own service account.",
)
@click.option(
    "-n", "--namespace", default="", help="Of objects that name none; with --cluster: only this one."
)
@CONFIG_OPTION
@pass_connection
def analyze(
    connection: Connection,
    paths: tuple[str, ...],
    cluster: bool,
    kubeconfig: str,
    namespace: str,
    config: Path | None,
) -> None:
    """Find models that can be reached around their sidecar. PATHS are files, folders or - for standard input.

    Ends with status 4 when something of severity high was found, else 0. With --config also images and settings of
    sidecars are compared.
    """
    from control_plane.injector.analyze import analyze as look
    from control_plane.injector.analyze import summary
    from control_plane.injector.config import load_config
    from control_plane.injector.workloads import items, read_documents

    if bool(paths) == cluster:
        raise InvalidInput(
            "what shall be looked at?",
            [Problem(path="PATHS", code="missing", message="give files or folders, or --cluster")],
        )
    settings = load_config(config) if config is not None else None
    if cluster:
        from control_plane.injector.cluster import read_cluster

        try:
            objects = asyncio.run(read_cluster(kubeconfig, namespace))
        except InvalidInput as error:  # its settings are those of a control plane: here they are an option
            raise InvalidInput(
                error.summary, [replace(each, path="--kubeconfig") for each in error.problems]
            ) from None
        found = [*items(objects, "cluster")]
    else:
        found = [
            each
            for file in _files(paths)
            for each in items(read_documents(read_text(file, MANIFESTS), file), file)
        ]
    findings = look(found, settings, default_namespace=namespace or "default", running=cluster)
    connection.output.rows(
        ("severity", "object", "path", "finding", "mend"),
        [
            (each.severity, each.object, each.path, f"{each.code}: {each.message}", each.hint)
            for each in findings
        ],
        data=findings,
    )
    click.echo(summary(findings), err=True)
    raise SystemExit(4 if any(each.severity == "high" for each in findings) else 0)


def _files(paths: tuple[str, ...]) -> list[str]:
    """Folders as their YAML and JSON files, sorted."""
    files: list[str] = []
    for each in paths:
        folder = Path(each)
        if each != "-" and folder.is_dir():
            files += sorted(str(one) for one in folder.rglob("*") if one.suffix in SUFFIXES and one.is_file())
        else:
            files.append(each)
    if not files:
        raise InvalidInput(
            "nothing to look at",
            [Problem(path=", ".join(paths), code="empty", message="no .yaml, .yml or .json file in there")],
        )
    return files
