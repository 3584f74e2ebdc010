"""The command's root: global options, help by sections, and the one place where errors become exit codes.

Exit codes: 0 done · 1 fault · 2 wrong input · 3 not found · 4 refused or conflict · 5 not reachable, not ready.
"""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import replace
from typing import Any

import click
from click.shell_completion import CompletionItem

from bartizan import errors
from bartizan.cli.catalog import ENTRIES, HIDDEN, SECTIONS
from bartizan.cli.connection import Connection
from bartizan.cli.output import Output, printable

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

_FILE_SYSTEM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
"""What the machine's owner mends, not we."""


def _drop_output() -> None:
    """What standard output holds and can't write, Python would try to write once more at its end, and exit with 120."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Root(click.Group):
    """A click group whose commands end with a message and a code, never with a traceback, for expected errors.

    `commands` holds names alone, for suggestions: a command's module is imported when it is asked for. `bartizan
    sidecar` stays in memory for as long as its pod lives.
    """

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except errors.BartizanError as error:
            click.echo(printable(f"error: {error}"), err=True)
            sys.exit(next((code for kind, code in CODES if isinstance(error, kind)), 1))
        except OSError as error:
            if error.errno not in _FILE_SYSTEM:
                raise
            click.echo(f"error: {error.filename or 'the system'}: {error.strerror}", err=True)
            _drop_output()
            sys.exit(1)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(ENTRIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        entry = ENTRIES.get(cmd_name)
        if entry is None:
            return None
        command = entry.load()
        _accept_output(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        width = max(map(len, ENTRIES))
        for title, entries in SECTIONS:
            with formatter.section(title):
                formatter.write_dl([(entry.name.ljust(width), entry.about) for entry in entries])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        entries = [entry for entry in ENTRIES.values() if entry is not HIDDEN]
        names = [entry for entry in entries if entry.name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(entry.name, help=entry.about) for entry in names), *options]


@click.group(
    cls=Root,
    commands={name: click.Command(name) for name in ENTRIES},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
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
