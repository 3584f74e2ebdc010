"""Which control plane a command talks to: options, then environment, then the laptop stack's up.json."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from bartizan.cli.output import Output
from bartizan.errors import Forbidden, InvalidInput, Problem
from bartizan.local.paths import state_folder

if TYPE_CHECKING:
    # An HTTP client, wanted by most commands, but not by the servers.
    from bartizan.client import Client
    from bartizan.local.up_state import UpState

T = TypeVar("T")
_LOST = (
    "any admin makes another one with `bartizan tokens issue`; if there is none left, so does `bartizan control-plane "
    "new-admin` on the control plane's host"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The global options; passed to every command as click's `obj`."""

    url: str | None
    token_file: str | None
    ca: str | None
    output: Output

    def client(self) -> Client:
        """Raises InvalidInput that names every missing part and how to give it."""
        from bartizan.client import Client
        from bartizan.local.up_state import read_state

        running = read_state(state_folder())
        url = self.url or (running and running.api)
        token_file = self._token_path()
        ca = self.ca or (running and running.ca_file)
        problems = [
            Problem(
                path=option,
                code="missing",
                message="not given",
                hint=f"set {option} or {variable}, or run `bartizan up`",
            )
            for option, variable, value in (
                ("--url", "BARTIZAN_URL", url),
                ("--token-file", "BARTIZAN_TOKEN_FILE", token_file),
                ("--ca", "BARTIZAN_CA", ca),
            )
            if not value
        ]
        if problems:
            raise InvalidInput("no control plane to talk to", problems)
        path = Path(token_file)
        try:
            token = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = "holds no token" if isinstance(error, UnicodeDecodeError) else str(error.strerror)
            ours = running is not None and token_file == running.token_file
            hint = "`bartizan down` and `bartizan up` make another one" if ours else _LOST
            problem = Problem(path=str(path), code="unreadable", message=why, hint=hint)
            raise InvalidInput("the admin token can't be read", [problem]) from error
        return Client(str(url), token, ca_file=Path(str(ca)))

    def _token_path(self) -> str:
        """As options, environment or the laptop stack name it; "" where none does."""
        from bartizan.local.up_state import read_state

        running = read_state(state_folder())
        return self.token_file or (running.token_file if running else "")

    def laptop(self) -> UpState | None:
        """The running stack of `bartizan up` that commands go to; None where another control plane was named."""
        from bartizan.local.up_state import read_state

        return read_state(state_folder()) if self.url is None else None

    def call(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Run one piece of work with a client and return its result."""

        async def run() -> T:
            async with self.client() as client:
                try:
                    return await work(client)
                except Forbidden as refused:
                    raise Forbidden(f"{refused} (with the token of {self._token_path()})") from None

        return asyncio.run(run())


pass_connection = click.make_pass_decorator(Connection)
