"""The smallest model of all: a FastAPI service that counts words. Bound to loopback, so that only the guard reaches it.

python examples/quickstart/model.py
"""

from __future__ import annotations

import argparse

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Text(BaseModel):
    """What clients send."""

    text: str


app = FastAPI()


@app.post("/predict")
async def predict(body: Text) -> dict[str, object]:
    words = len(body.text.split())
    return {"words": words, "scores": [words / (words + 1), 1 / (words + 1)]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    uvicorn.run(app, host="127.0.0.1", port=parser.parse_args().port, log_level="warning")
