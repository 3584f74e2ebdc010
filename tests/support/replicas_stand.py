"""Two control planes over one PostgreSQL and one OpenBao, all real processes, and a sidecar at each of them.

Each sidecar stands before the same model under a policy of its own, and reaches the control planes by a `Service`: a
forwarder that gives every new connection to one of the replicas, as a Kubernetes Service does.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import yaml

from bartizan.client import Client
from bartizan.errors import DependencyError
from bartizan.local.certificates import make_server_certificate
from bartizan.local.processes import free_port
from bartizan.local.stack import Stack
from tests.support.keyed_model import Model
from tests.support.orphans import end_orphans
from tests.support.postgres import postgres
from tests.support.raw_client import shed
from tests.support.revival import revive
from tests.support.service import Service

SECRET, KEY_SET = "upstream", "shared"
SHOWN = ("time", "policy", "source", "phase", "cause", "status", "detail", "key_id")
SETTINGS = {
    "BARTIZAN_CP_REPLICAS": "2",
    "BARTIZAN_CP_ROTATION_LEASE_SECONDS": "3",
    "BARTIZAN_CP_ROTATION_SOAK_SECONDS": "1",
    "BARTIZAN_CP_ROTATION_DRAIN_SECONDS": "1",
    "BARTIZAN_DRAIN_SECONDS": "1",
}


@dataclass
class Place:
    """A replica and the sidecar that prefers it; `policy` is that sidecar's."""

    name: str
    stack: Stack
    grpc: Service
    attest: Service
    port: int = field(default_factory=free_port)

    @property
    def policy(self) -> str:
        return f"default/{self.name}"

    def client(self) -> Client:
        return self.stack.client()

    def document(self, model_port: int, *, tenants: tuple[str, ...] = ("acme",)) -> str:
        return yaml.safe_dump(
            {
                "apiVersion": "bartizan.dev/v1alpha1",
                "kind": "ModelPolicy",
                "metadata": {"name": self.name},
                "spec": {
                    "selector": {"matchLabels": {"app": self.name}},
                    "listener": {
                        "address": "127.0.0.1",
                        "port": self.port,
                        "tls": {"cert": "file:tls.crt", "key": "file:tls.key"},
                    },
                    "model": {
                        "name": self.name,
                        "protocol": "json_fields",
                        "port": model_port,
                        "credential": {"secret": SECRET, "header": "x-model-key"},
                    },
                    "routes": [{"path": "/predict", "inputText": ["$.text"]}],
                    "tenants": list(tenants),
                    "authn": {"apiKeys": {"set": KEY_SET}},
                },
            }
        )

    async def ask(self, key: str) -> int:
        """The status of a request over a new connection, asked again where it came only of waiting."""
        for _ in range(20):
            asked = time.monotonic()
            status = await self._asked(key)
            if not shed(status, asked):
                break
        return status

    async def _asked(self, key: str) -> int:
        context = ssl.create_default_context(cafile=self.stack.cert_dir / "tls.crt")
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
            session.post(
                f"https://localhost:{self.port}/predict",
                json={"text": "hi"},
                headers={"x-api-key": key} if key else {},
                ssl=context,
            ) as answer,
        ):
            await answer.read()
            return answer.status

    async def instance(self) -> str:
        found: str = (await self.stack.sidecar_status())["instance_id"]
        return found


@dataclass
class Pair:
    """`one` and `two`; `key` is a good API key of both."""

    one: Place
    two: Place
    model: Model
    key: str = ""

    @property
    def places(self) -> tuple[Place, Place]:
        return self.one, self.two

    async def begin(self) -> None:
        """What each test begins from: both up, both policies enforced, no rotation under way, one upstream key."""
        for place in self.places:
            await revive(place.stack)
        async with self.one.client() as client:
            ours = {await place.instance() for place in self.places}
            for each in await client.instances():
                if each.instance_id not in ours:  # a test that failed had it join; it would hold rotations
                    await client.remove_instance(each.instance_id)
            for place in self.places:
                assert (await client.wait_enforced(place.policy, timeout_seconds=60)).enforced
            assert (await client.wait_rotated(SECRET, timeout_seconds=120)).finished
        self.model.refused = 0

    @contextlib.contextmanager
    def unready(self, gone: Place) -> Iterator[None]:
        """What a readiness probe does about a replica that does not answer: no new connections come to it."""
        services = [each for place in self.places for each in (place.grpc, place.attest)]
        before = [list(each.to) for each in services]
        for each in services:
            each.to = [
                port for port in each.to if port not in {gone.stack.ports.grpc, gone.stack.ports.attest}
            ]
        try:
            yield
        finally:
            for each, to in zip(services, before, strict=True):
                each.to = to

    @asynccontextmanager
    async def traffic(self) -> AsyncIterator[Counter[int | str]]:
        """Requests through both sidecars meanwhile; their answers."""
        answers: Counter[int | str] = Counter()
        done = asyncio.Event()

        async def load(place: Place) -> None:
            while not done.is_set():
                try:
                    answers[await place.ask(self.key)] += 1
                except aiohttp.ClientError as error:
                    answers[type(error).__name__] += 1

        async with asyncio.TaskGroup() as group:
            for place in self.places:
                group.create_task(load(place))
            try:
                yield answers
            finally:
                done.set()

    async def answered(self, answers: Counter[int | str], *, or_not_taken: bool = False) -> None:
        """The model answered every request, or says why sidecars refused. `or_not_taken`: but for those whose connection
        a sidecar that was started again did not take, or did not keep.
        """
        if {each for each in answers if not (or_not_taken and isinstance(each, str))} == {200}:
            return
        async with self.one.client() as client:
            refused = await client.audit(action="deny", limit=20)
        seen = "\n".join(str({name: each.get(name) for name in SHOWN}) for each in refused)
        raise AssertionError(f"{answers}; the newest refusals:\n{seen}")


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> float:
    """Seconds until it held."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(seconds):
        while True:
            with contextlib.suppress(aiohttp.ClientError, DependencyError):
                if await holds():
                    return loop.time() - began
            await asyncio.sleep(0.02)


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    """All up; `begin` waits for the rest. Unix socket paths are short."""
    folder = Path(tempfile.mkdtemp(prefix="bz-"))
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(end_orphans, folder)
        store = await stack.enter_async_context(postgres())
        model = await stack.enter_async_context(Model(folder / "m.sock").running())
        stacks = [
            Stack(
                state=folder / name, labels={"app": name}, settings={**SETTINGS, "BARTIZAN_CP_STORE": store}
            )
            for name in ("one", "two")
        ]
        stacks[1].bao = stacks[0].bao
        places = []
        for number, each in enumerate(stacks):
            ports = [each.ports, stacks[1 - number].ports]
            grpc = await stack.enter_async_context(Service(*(one.grpc for one in ports)).running())
            attest = await stack.enter_async_context(Service(*(one.attest for one in ports)).running())
            each.settings["BARTIZAN_CONTROL_PLANE"] = f"127.0.0.1:{grpc.port}"
            each.settings["BARTIZAN_ATTEST"] = f"127.0.0.1:{attest.port}"
            places.append(Place(("one", "two")[number], each, grpc, attest))
        made = Pair(places[0], places[1], model)
        await stacks[0].start_openbao()
        stack.push_async_callback(stacks[0].bao.stop)
        for each in stacks:
            stack.push_async_callback(_stop, each)
            make_server_certificate(each.cert_dir)
            await each.start_control_plane()
            if each is not stacks[0]:
                shutil.copy(stacks[0].token_file, each.token_file)
        async with made.one.client() as client:
            definition = {
                "class": "provider",
                "path": "secrets/upstream",
                "provider": {"kind": "http", "socket": str(model.socket)},
            }
            await client.put_secret(SECRET, definition)
            await client.create_key_set(KEY_SET)
            made.key = (await client.issue_key(KEY_SET, tenant="acme")).key
            for place in made.places:
                await client.apply(place.document(model.port))
        for each in stacks:
            await each.start_sidecar()
        yield made


async def _stop(each: Stack) -> None:
    for child in (each.sidecar, each.control_plane):
        if child is not None:
            await child.stop(grace=20)
