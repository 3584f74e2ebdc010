"""The command line of somebody who administers a house (a control plane with its API) in tests."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from bartizan.cli.root import cli


class Commands:
    """The command line of somebody with an admin token for a house."""

    def __init__(self, house: Any, folder: Path) -> None:
        self.house = house
        self.token_file = folder / "admin-token"
        self.token_file.write_text(house.admin)

    async def run(self, *words: str) -> Result:
        options = ["--url", self.house.url, "--ca", str(self.house.ca_file)]
        # a command has a loop of its own
        return await asyncio.to_thread(
            CliRunner().invoke, cli, [*options, "--token-file", str(self.token_file), *words]
        )

    async def completed(self, *words: str) -> list[str]:
        """What the shell offers for the last word."""
        options = ["--url", self.house.url, "--ca", str(self.house.ca_file)]
        typed = [*options, "--token-file", str(self.token_file), *words[:-1]]
        shell = ShellComplete(cli, {}, "bartizan", "_BARTIZAN_COMPLETE")
        return [item.value for item in await asyncio.to_thread(shell.get_completions, typed, words[-1])]

    async def told(self, *words: str) -> Any:
        result = await self.run(*words, "--output", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)
