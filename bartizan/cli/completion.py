"""`bartizan completion`: what a shell asks, so that TAB completes commands, options and the names of policies."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that SHELL reads. For this session of bash: `source <(bartizan completion bash)`.

    For all to come put that line into ~/.bashrc (bash 4.4 or newer) or, with zsh, into ~/.zshrc; fish reads
    ~/.config/fish/completions/bartizan.fish.
    """
    kind = get_completion_class(shell)
    if kind is None:  # a plug-in took it away
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(context.find_root().command, {}, "bartizan", "_BARTIZAN_COMPLETE").source())
