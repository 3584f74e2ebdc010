"""A sentiment classifier as a service: the model that the demo guards.

POST /predict on loopback demands an upstream key in x-model-key. A private unix socket is the provider's side: keys
are created, listed and revoked there, and GET /received tells what reached the model.

    python examples/sentiment/app.py --port 8000 --state model --admin model/admin.sock
"""

from __future__ import annotations

import argparse
import asyncio
import collections
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from classifier import Classifier
from fastapi import FastAPI, Header, HTTPException
from keys import KeyStore
from pydantic import BaseModel, ConfigDict


class Text(BaseModel):
    """What clients send."""

    model_config = ConfigDict(extra="forbid")
    text: str


class KeyName(BaseModel):
    """A key's name; the creator's own mark, by which it finds its key again."""

    name: str


class Received:
    """What reached the model: the model's own log, from which the demo takes what it shows."""

    def __init__(self) -> None:
        self.requests = 0
        self.refused = 0
        self.last: collections.deque[dict[str, Any]] = collections.deque(maxlen=100)


def public_app(classifier: Classifier, keys: KeyStore, received: Received) -> FastAPI:
    """The model's own interface."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/predict")
    async def predict(
        body: Text,
        x_model_key: Annotated[str | None, Header()] = None,
        traceparent: Annotated[str | None, Header()] = None,
        authorization: Annotated[str | None, Header()] = None,
        x_api_key: Annotated[str | None, Header()] = None,
    ) -> dict[str, Any]:
        if not keys.accepts(x_model_key):
            received.refused += 1
            raise HTTPException(401, "unknown upstream key")
        received.requests += 1
        received.last.append(
            {
                "text": body.text,
                "traceparent": traceparent,
                "saw_client_credential": authorization is not None or x_api_key is not None,
            }
        )
        result = classifier.predict(body.text)
        return {"label": result.label, "probabilities": result.probabilities, "nearest": result.nearest}

    return app


def admin_app(keys: KeyStore, received: Received) -> FastAPI:
    """The provider's interface, on a private socket."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/keys")
    async def create(body: KeyName) -> dict[str, str]:
        key_id, key = keys.create(body.name)
        return {"id": key_id, "key": key}

    @app.get("/keys")
    async def listing() -> list[dict[str, str]]:
        return keys.list()

    @app.get("/keys/verify")
    async def verify(x_model_key: Annotated[str | None, Header()] = None) -> dict[str, bool]:
        if not keys.accepts(x_model_key):
            raise HTTPException(401, "unknown upstream key")
        return {"valid": True}

    @app.delete("/keys/{key_id}")
    async def revoke(key_id: str) -> dict[str, bool]:
        if not keys.revoke(key_id):
            raise HTTPException(404, "no such key")
        return {"revoked": True}

    @app.get("/received")
    async def seen() -> dict[str, Any]:
        return {"requests": received.requests, "refused": received.refused, "last": list(received.last)}

    return app


async def serve(port: int, admin: Path, state: Path) -> None:
    """Both servers in one loop, until a signal ends them."""
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(0o700)  # uvicorn opens its socket to everybody: the folder keeps it private
    keys, received = KeyStore(state / "keys.json"), Received()
    classifier = Classifier()
    settings: dict[str, Any] = {"log_level": "warning", "access_log": False, "lifespan": "off"}
    public = uvicorn.Server(
        uvicorn.Config(public_app(classifier, keys, received), host="127.0.0.1", port=port, **settings)
    )
    private = uvicorn.Server(uvicorn.Config(admin_app(keys, received), uds=str(admin), **settings))
    await asyncio.gather(public.serve(), private.serve())


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description="The example model of Bartizan's demo.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument(
        "--admin",
        type=Path,
        required=True,
        help="unix socket for keys and the received log; put it into the state folder, which is private",
    )
    parser.add_argument("--state", type=Path, required=True, help="folder for the key store")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.admin, arguments.state))


if __name__ == "__main__":
    main()
