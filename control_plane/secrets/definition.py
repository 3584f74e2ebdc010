"""What an operator says of a secret: where its value lives and who verifies it. Stored as JSON; never holds the value."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from bartizan.errors import InvalidInput, Problem

_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
_KV_PATH = re.compile(r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")
_HEADER = re.compile(r"^[A-Za-z0-9-]{1,64}$")


class HttpProvider(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="http", tag_field="kind"
):
    """A key service over HTTP. Paths are on `url`, or on the unix socket `socket` when that is given.

    create: POST {"name"} -> {"id", "key"} · list: GET -> [{"id", "name"}] · revoke: DELETE with {id} in the path ·
    verify: GET with the key in `key_header` -> 2xx accepted, 401 or 403 refused.

    headers_path: a key-value path whose fields are sent as headers (the provider's own admin token): what
    authenticates us to the provider lies in Vault too, and never in the definition.
    """

    url: str = "http://localhost"
    socket: str = ""
    create: str = "/keys"
    list: str = "/keys"
    revoke: str = "/keys/{id}"
    verify: str = "/keys/verify"
    key_header: str = "x-model-key"
    headers_path: str = ""


class SecretDefinition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A credential that sidecars add to requests: its value lies at `path` (key-value). Header and prefix are the policy's."""

    name: str
    class_: Literal["provider"] = msgspec.field(name="class", default="provider")
    path: str
    provider: HttpProvider


def parse_definition(document: object) -> SecretDefinition:
    """Check a decoded document, or JSON text. Raises InvalidInput with every problem found."""
    try:
        if isinstance(document, str | bytes):
            made = msgspec.json.decode(document, type=SecretDefinition)
        else:
            made = msgspec.convert(document, SecretDefinition)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        path = where.rstrip("`").lstrip(".")
        problem = Problem(path=path, code="invalid", message=message)
        raise InvalidInput("the secret's definition was refused", [problem]) from None
    except msgspec.DecodeError as error:
        raise InvalidInput(f"the secret's definition is not JSON: {error}") from None
    problems = list(_problems(made))
    if problems:
        raise InvalidInput("the secret's definition was refused", problems)
    return made


def encode_definition(definition: SecretDefinition) -> str:
    """Canonical JSON text for the store."""
    return msgspec.json.encode(definition, order="deterministic").decode()


def _problems(made: SecretDefinition) -> list[Problem]:
    provider = made.provider
    checks = {
        "name": (_NAME.match(made.name), "lower-case letters, digits and hyphens, at most 63"),
        "path": (_KV_PATH.match(made.path) and len(made.path) <= 256, "segments of letters, digits, _ and -"),
        "provider.url": (provider.url.startswith(("http://", "https://")), "an http or https URL"),
        "provider.socket": (not provider.socket or provider.socket.startswith("/"), "an absolute path"),
        "provider.create": (provider.create.startswith("/"), "a path"),
        "provider.list": (provider.list.startswith("/"), "a path"),
        "provider.revoke": (
            provider.revoke.startswith("/") and provider.revoke.count("{id}") == 1,
            "a path with {id} in it once",
        ),
        "provider.verify": (provider.verify.startswith("/"), "a path"),
        "provider.headers_path": (
            not provider.headers_path or _KV_PATH.match(provider.headers_path),
            "segments of letters, digits, _ and -",
        ),
        "provider.key_header": (_HEADER.match(provider.key_header), "a header name"),
    }
    return [
        Problem(path=path, code="invalid", message=f"must be {wanted}")
        for path, (good, wanted) in checks.items()
        if not good
    ]
