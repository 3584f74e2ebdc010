"""One sidecar in local mode before a model that echoes, for tests of single fields: each publishes BASE with its changes."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bartizan.policy.keyset import KeyRecord, KeySet, key_hash, new_key
from tests.support.local_sidecar import LocalSidecar, Status, enforced
from tests.support.raw_client import wait_until
from tests.support.raw_model import RawModel
from tests.support.spans import SpanNotes
from tests.support.tokens import Issuer

KEYS = {name: new_key() for name in ("acme", "acme2", "globex", "other")}
BASE: dict[str, Any] = {
    "selector": {"matchLabels": {"app": "fields"}},
    "listener": {"address": "127.0.0.1", "port": "{port}", "tls": "none"},
    "model": {"name": "m-1", "protocol": "json_fields", "port": "{model}"},
    "routes": [{"path": "/in", "inputText": ["$.text"]}, {"path": "/out", "outputText": ["$.echo"]}],
    "tenants": ["acme", "globex"],
    "authn": {"apiKeys": {"set": "keys"}},
}
EMAIL, CARD = "jane@example.org", "4111 1111 1111 1111"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class World:
    sidecar: LocalSidecar
    model: RawModel
    issuer: Issuer
    spans: SpanNotes
    models: Path
    """The sidecar's model folder."""
    version: int = 1
    issued: dict[str, Any] = field(default_factory=dict)

    def use(self, metadata: dict[str, str] | None = None, **spec: Any) -> None:
        """Enforce BASE with these parts in place of its own."""
        self._publish(metadata, spec)
        self.sidecar.until(lambda now: enforced(now, self.version))
        self.model.says = "echo"

    def refuse(self, reason: str, **spec: Any) -> None:
        """Publish the same where the sidecar refuses it for this reason."""
        self._publish(None, spec)

        def refused(now: Status) -> bool:
            said = now["refused"] or {"version": 0}
            return said["version"] == self.version and reason in json.dumps(said)

        self.sidecar.until(refused)

    def _publish(self, metadata: dict[str, str] | None, spec: dict[str, Any]) -> None:
        self.version += 1
        text = policy(metadata, **spec).replace("{issuer}", self.issuer.url)
        self.sidecar.publish(self.sidecar.signed(self.version, text))

    def ask(self, path: str = "/in", body: Any = None, **options: Any) -> Answer:
        """As `ask_once`, and again after a 503, as its Retry-After asks for: a machine that stops a worker or a check's
        process for seconds gets what is promised then, and shows nothing of a field.
        """
        answers: list[Answer] = []

        def judged() -> bool:
            answers.append(self.ask_once(path, body, **options))
            return answers[-1].status != 503 or "retry-after" not in answers[-1].headers

        wait_until(judged, every=0.5)
        return answers[-1]

    def ask_once(
        self,
        path: str = "/in",
        body: Any = None,
        *,
        key: str = "acme",
        kind: str = "application/json",
        method: str = "POST",
        token: str = "",
        address: tuple[str, int] | None = None,
        context: ssl.SSLContext | None = None,
    ) -> Answer:
        host, port = address or ("127.0.0.1", self.sidecar.port)
        connection = (
            http.client.HTTPSConnection("localhost", port, timeout=60, context=context)
            if context
            else http.client.HTTPConnection(host, port, timeout=60)
        )
        data = (
            b""
            if method == "GET"
            else body
            if isinstance(body, bytes)
            else json.dumps(body or {"text": "hi"})
        )
        headers = {"content-type": kind} if method != "GET" else {}
        headers |= {"authorization": f"Bearer {token}"} if token else {"x-api-key": KEYS[key]} if key else {}
        with contextlib.closing(connection):
            connection.request(method, path, body=data or None, headers=headers)
            response = connection.getresponse()
            got = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, got, response.read())

    def record(self, answer: Answer) -> Mapping[str, Any]:
        decision = answer.headers["x-bartizan-decision"]
        found: list[Mapping[str, Any]] = []

        def there() -> bool:
            found[:] = [one for one in self.sidecar.records(decision) if one["id"] == decision]
            return bool(found)

        assert wait_until(there), f"no record {decision}"
        return found[0]

    def reached(self) -> int:
        return len(self.model.received)

    def said(self) -> str:
        text: str = json.loads(self.model.received[-1].body)["text"]
        return text


def policy(metadata: dict[str, str] | None = None, **spec: Any) -> str:
    document = {
        "apiVersion": "bartizan.dev/v1alpha1",
        "kind": "ModelPolicy",
        "metadata": metadata or {"name": "fields"},
        "spec": {name: part for name, part in {**BASE, **spec}.items() if part is not None},
    }
    return json.dumps(document).replace('"{port}"', "{port}").replace('"{model}"', "{model}")


@contextlib.contextmanager
def field_world() -> Iterator[World]:
    """The sidecar with its model, issuer and collector of spans."""
    keys = KeySet(
        name="keys",
        version=1,
        keys=tuple(
            KeyRecord(
                id=name,
                hash=key_hash(key),
                tenant={"globex": "globex", "other": "evil"}.get(name, "acme"),
                plan="gold",
                region="eu",
            )
            for name, key in KEYS.items()
        ),
    )
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bz-issuer-")))
        issuer = Issuer(folder)
        models = folder / "models"
        models.mkdir()
        stack.callback(issuer.close)
        model = RawModel("echo")
        stack.callback(model.down)
        spans = stack.enter_context(SpanNotes())
        sidecar = LocalSidecar(
            policy(),
            model.port,
            keys,
            BARTIZAN_JWKS_ALLOW=issuer.address,
            SSL_CERT_FILE=str(issuer.ca_file),
            BARTIZAN_MODEL_DIR=str(models),
            OTEL_EXPORTER_OTLP_ENDPOINT=spans.endpoint,
        )
        stack.callback(sidecar.close)
        sidecar.start()
        yield World(sidecar, model, issuer, spans, models)
