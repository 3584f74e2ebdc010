"""The command's root: groups, global options, and the one place where errors become exit codes.

Exit codes: 0 done · 1 fault · 2 wrong input · 3 not found · 4 refused or conflict · 5 not reachable, not ready.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from typing import Any

import click

from bartizan import errors
from bartizan.cli.connection import Connection
from bartizan.cli.output import Output

STYLES = ("table", "json")
CODES: tuple[tuple[type[errors.BartizanError], int], ...] = (
    (errors.InvalidInput, 2),
    (errors.NotFound, 3),
    (errors.Conflict, 4),
    (errors.Forbidden, 4),
    (errors.TrustError, 4),
    (errors.ResourceRejected, 4),
    (errors.DependencyRefused, 4),
    (errors.DependencyUnavailable, 5),
)


MODULES = {
    "laptop": ("demo", "up", "down"),
    "servers": ("control-plane", "sidecar"),
    "policy": ("policy",),
    "mesh": ("mesh",),
    "keys": ("keys",),
    "secrets": ("secrets",),
    "status": ("status",),
    "fleet": (
        "endpoints", "instances", "join-token", "join-tokens", "revoke-join-token", "trust", "remove-instance",
    ),
    "tokens": ("tokens",),
    "audit": ("audit",),
    "events": ("events",),
    "capture": ("capture",),
    "inject": ("inject",),
    "injector": ("injector",),
    "analyze": ("analyze",),
    "scan": ("scan",),
    "doctor": ("doctor",),
}  # fmt: skip
PLACES = {command: module for module, commands in MODULES.items() for command in commands}


class Root(click.Group):
    """A click group whose commands end with a message and a code, never with a traceback, for expected errors.

    Each is imported when it is asked for: `bartizan sidecar` stays in memory for as long as its pod lives.
    """

    def list_commands(self, _context: click.Context) -> list[str]:
        return sorted(PLACES)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in PLACES and name not in self.commands:
            module = importlib.import_module(f"bartizan.cli.{PLACES[name]}")
            command: click.Command = getattr(module, name.replace("-", "_"))
            _accept_output(command)
            self.add_command(command)
        return super().get_command(context, name)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except errors.BartizanError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(next((code for kind, code in CODES if isinstance(error, kind)), 1))


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="bartizan")
@click.option("--output", type=click.Choice(STYLES), default="table", help="How results are printed.")
@click.option(
    "--url", envvar="BARTIZAN_URL", help="Control plane, https://host:8440. Default: the laptop stack's."
)
@click.option("--token-file", envvar="BARTIZAN_TOKEN_FILE", help="File with an admin token.")
@click.option("--ca", envvar="BARTIZAN_CA", help="PEM file of the control plane's CA.")
@click.pass_context
def cli(context: click.Context, output: str, url: str | None, token_file: str | None, ca: str | None) -> None:
    """Guard a model with an Envoy sidecar; manage policies, keys and secrets through the control plane."""
    context.obj = Connection(url=url, token_file=token_file, ca=ca, output=Output(output))


def _say_output(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    connection = context.find_object(Connection)
    if value is not None and connection is not None:
        context.obj = replace(connection, output=Output(value))


def _accept_output(command: click.Command) -> None:
    """--output may stand before or after the command's name."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            _accept_output(below)
        return
    if any("--output" in parameter.opts for parameter in command.params):
        return
    option = click.Option(
        ["--output"],
        type=click.Choice(STYLES),
        expose_value=False,
        is_eager=True,
        callback=_say_output,
        help="How results are printed.",
    )
    command.params.append(option)
