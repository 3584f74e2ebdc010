"""Names of policies as arguments: what the control plane knows is completed by the shell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from bartizan import tasks
from bartizan.cli.connection import Connection
from bartizan.cli.output import Output
from bartizan.errors import BartizanError

if TYPE_CHECKING:
    from bartizan.client import Client

_SECONDS = 2.0
"""Somebody waits at the prompt."""


def _asks(fetch: Callable[[Client], Awaitable[list[str]]]) -> Callable[..., list[CompletionItem]]:
    async def in_time(client: Client) -> list[str]:
        async with tasks.timeout(_SECONDS):
            return await fetch(client)

    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        options = context.find_root().params
        connection = Connection(
            url=options.get("url"),
            token_file=options.get("token_file"),
            ca=options.get("ca"),
            output=Output("table"),
        )
        try:
            names = connection.call(in_time)
        except (BartizanError, TimeoutError):
            return []  # a prompt is no place for errors
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]

    return complete


async def _policies(client: Client) -> list[str]:
    return [each.name for each in await client.policies()]


async def _meshes(client: Client) -> list[str]:
    return [each.name for each in await client.meshes()]


async def _key_sets(client: Client) -> list[str]:
    return [each.name for each in await client.key_sets()]


POLICY = click.argument("name", shell_complete=_asks(_policies))
POLICY_OR_ALL = click.argument("name", required=False, shell_complete=_asks(_policies))
MESH = click.argument("name", shell_complete=_asks(_meshes))
KEY_SET = click.argument("key_set", shell_complete=_asks(_key_sets))
