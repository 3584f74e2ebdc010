"""The example model as a child process, and its provider side (keys, what it received) over its private socket."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bartizan import tasks
from bartizan.errors import DependencyUnavailable, NotFound
from bartizan.local import processes

APP = Path(__file__).resolve().parents[2] / "examples" / "sentiment" / "app.py"


@dataclass(slots=True)
class ExampleModel:
    """examples/sentiment, started from a source checkout."""

    state: Path
    port: int = field(default_factory=processes.free_port)
    child: processes.Child | None = field(default=None, init=False)

    @property
    def socket(self) -> Path:
        return self.state / "admin.sock"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, seconds: float = 180) -> None:
        """Start and wait until its private socket answers."""
        if not APP.exists():
            raise NotFound(f"the example model is part of the source checkout: {APP} is missing")
        self.socket.unlink(missing_ok=True)
        arguments = ["--port", str(self.port), "--admin", str(self.socket), "--state", str(self.state)]
        self.child = await processes.start(
            "model", [sys.executable, str(APP), *arguments], log=self.state / "model.log"
        )
        try:
            async with tasks.timeout(seconds):
                while True:
                    self.child.check()
                    try:
                        await self.received()
                        return
                    except aiohttp.ClientError:
                        await asyncio.sleep(0.1)
        except TimeoutError:
            raise DependencyUnavailable(f"the example model did not answer: {self.child.tail()}") from None

    async def stop(self) -> None:
        if self.child is not None:
            await self.child.stop()

    async def create_key(self, name: str) -> str:
        """A new upstream key."""
        answer = await self._admin("POST", "/keys", {"name": name})
        return str(answer["key"])

    async def keys(self) -> list[dict[str, str]]:
        """Ids and names of the keys that the model accepts."""
        listing: list[dict[str, str]] = await self._admin("GET", "/keys")
        return listing

    async def received(self) -> dict[str, Any]:
        """What reached the model: {"requests", "refused", "last": [{"text", …}]}."""
        seen: dict[str, Any] = await self._admin("GET", "/received")
        return seen

    async def predict_directly(self, text: str, key: str) -> int:
        """Status of a request past the guard, on loopback: only for showing that an old key is dead."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/predict", json={"text": text}, headers={"x-model-key": key}) as answer,
        ):
            return answer.status

    async def _admin(self, method: str, path: str, body: dict[str, str] | None = None) -> Any:
        connector = aiohttp.UnixConnector(path=str(self.socket))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, f"http://model{path}", json=body) as answer,
        ):
            answer.raise_for_status()
            return await answer.json()
