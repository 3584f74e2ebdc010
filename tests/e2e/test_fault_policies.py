"""Documents that must not become policies, one row of faults_policies.yaml each, against the API of a whole stack.

After each the old policy is still enforced: same answers, same version, nothing new in the store.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
import yaml

from tests.support.control_plane_stand import POLICY, Stand, stand

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("control-plane"),
    pytest.mark.asyncio(loop_scope="module"),
]

OPEN = """
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {name: hurt}
spec:
  selector: {matchLabels: {app: hurt}}
  listener: {address: 127.0.0.1, port: {port}, tls: {cert: "file:tls.crt", key: "file:tls.key"}}
  model: {name: hurt, protocol: json_fields, port: {model}}
  routes: [{path: /predict, inputText: [$.text]}]
  tenants: [acme, evil]
  authn: {apiKeys: {set: hurt}}
  input: [{promptInjection: {}}]
"""


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault, see the table's head. `also` is a second replacement, `json` one in the document written as JSON."""

    text: str | None = None
    hex: str = ""
    replace: tuple[str, str] = ("", "")
    also: tuple[str, str] = ("", "")
    json: tuple[str, str] | None = None
    add: str = ""
    padding: int = 0
    deep: int = 0
    content_type: str = "application/yaml"
    headers: dict[str, str] = {}
    query: dict[str, str] = {}


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One case: the problem's status and code, every problem's place and code, and requests that reached the model."""

    name: str
    input: Input
    status: int
    cause: str
    at: dict[str, str] = {}
    reached_model: int


ROWS = msgspec.convert(
    yaml.safe_load(Path(__file__).with_name("faults_policies.yaml").read_text()), list[Row]
)


@dataclass(frozen=True, slots=True)
class House:
    """The stand, its session with the API, and a key of a tenant that only OPEN lets in."""

    hurt: Stand
    session: aiohttp.ClientSession
    token: str
    foreign: str

    async def post(self, path: str, row: Input) -> tuple[int, dict[str, Any]]:
        fill = {"{port}": str(self.hurt.port), "{model}": str(self.hurt.model_port), "{key}": self.hurt.key}
        body = document(row)
        for name, value in fill.items():
            body = body.replace(name.encode(), value.encode())
        body += b"#" * (row.padding - len(body))
        headers = {"authorization": f"Bearer {self.token}", "content-type": row.content_type}
        for name, value in row.headers.items():
            headers[name] = value.replace("{key}", self.hurt.key)
        async with self.session.post(
            self.hurt.stack.api_url + path, data=body, headers=headers, params=row.query
        ) as answer:
            return answer.status, await answer.json(content_type=None)

    def stored(self) -> list[Any]:
        return [
            self.hurt.stored("select * from policies order by name"),
            self.hurt.stored("select * from revisions order by policy, number"),
            self.hurt.stored("select * from publications order by policy, version"),
        ]


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="house")
async def _house() -> AsyncIterator[House]:
    async with stand() as hurt:
        async with hurt.stack.client() as client:
            foreign = (await client.issue_key("hurt", tenant="evil")).key
        await hurt.until(lambda: _answers(hurt, foreign, 403))
        context = ssl.create_default_context(cafile=hurt.stack.ca_file)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            yield House(hurt, session, hurt.stack.token_file.read_text().strip(), foreign)


async def _answers(hurt: Stand, key: str, status: int) -> bool:
    return await hurt.ask(key) == status


def document(row: Input) -> bytes:
    """What the author sends; {port}, {model} and {key} are still open in it."""
    if row.hex:
        return bytes.fromhex(row.hex)
    if row.text is not None:
        return row.text.encode()
    if row.deep:
        return b"[" * row.deep
    text = OPEN
    for old, new in (row.replace, row.also):
        assert old in text, f"{old!r} is not in the document"
        text = text.replace(old, new)
    text += row.add
    if row.json is not None:
        old, new = row.json
        # the ports are written as text in braces, which JSON does not mind
        text = json.dumps(yaml.safe_load(text.replace("{port}", "1").replace("{model}", "2")))
        assert old in text
        text = text.replace(old, new)
    return text.encode()


async def test_without_a_fault_the_document_is_a_policy(house: House) -> None:
    status, said = await house.post("/v1/policies:validate", Input())
    assert (status, said["name"]) == (200, POLICY), said


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "-"))
async def test_a_faulty_document_is_refused_with_every_reason_and_changes_nothing(
    row: Row, house: House
) -> None:
    before, version = house.stored(), await house.hurt.enforced()
    status, said = await house.post("/v1/policies", row.input)
    assert (status, said["code"]) == (row.status, row.cause), said
    assert {one["path"]: one["code"] for one in said.get("problems", ())} == row.at
    assert house.hurt.key not in json.dumps(said)
    reached = house.hurt.reached.total()
    assert [await house.hurt.ask(), await house.hurt.ask(house.foreign)] == [200, 403]
    assert house.hurt.reached.total() - reached == row.reached_model
    assert house.stored() == before
    assert await house.hurt.enforced() == version
