"""Presidio's request path behind ext_authz: the API key, then personal data in every message of a chat.

Its recognizers of forms alone (mail, card, IBAN, phone) over a blank spaCy pipeline: the usual one needs a language model
that no package registry has. So this is the least that Presidio costs.
"""

from __future__ import annotations

import hashlib
import json
import os

import spacy
from aiohttp import web
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
from presidio_analyzer.predefined_recognizers import (
    CreditCardRecognizer,
    EmailRecognizer,
    IbanRecognizer,
    PhoneRecognizer,
)

KEYS = {hashlib.sha256(os.environ["API_KEY"].encode()).hexdigest()}


class Blank(SpacyNlpEngine):  # type: ignore[misc] # its package is not in our environment
    """Splits words, and names nothing."""

    def __init__(self) -> None:
        super().__init__(
            models=[{"lang_code": "en", "model_name": "blank"}],
            ner_model_configuration=NerModelConfiguration(labels_to_ignore=[]),
        )
        self.nlp = {"en": spacy.blank("en")}


def engine() -> AnalyzerEngine:
    """Four recognizers, English."""
    registry = RecognizerRegistry(
        recognizers=[CreditCardRecognizer(), EmailRecognizer(), IbanRecognizer(), PhoneRecognizer()]
    )
    return AnalyzerEngine(nlp_engine=Blank(), registry=registry, supported_languages=["en"])


ANALYZER = engine()


async def check(request: web.Request) -> web.Response:
    """401 for strangers, 403 for personal data."""
    if hashlib.sha256(request.headers.get("x-api-key", "").encode()).hexdigest() not in KEYS:
        return web.Response(status=401)
    for message in json.loads(await request.read())["messages"]:
        if ANALYZER.analyze(text=message["content"], language="en"):
            return web.Response(status=403)
    return web.Response()


def main() -> None:
    """Serve on loopback until killed."""
    app = web.Application(client_max_size=8 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", check)
    web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=None, print=None)


if __name__ == "__main__":
    main()
