"""`bartizan up`: the stack of stack.py in front of one's own model, with state that survives a restart."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import ipaddress
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from bartizan.client import Client
from bartizan.errors import Conflict, DependencyUnavailable, InvalidInput, PolicyInvalid, Problem
from bartizan.local.doctor import listening_addresses
from bartizan.local.files import read_yaml
from bartizan.local.served_pair import Pair, self_signed, serve
from bartizan.local.stack import Stack
from bartizan.local.told import Told, contradictions, fill_in
from bartizan.local.up_state import write_state
from bartizan.local.watch import watch
from bartizan.policy.documents import dump_document
from bartizan.policy.positions import with_lines
from bartizan.policy.validate import read_policy, validate_document

PASSED_ON = (
    "BARTIZAN_CP_AUDIT_DAYS",
    "BARTIZAN_CP_PROVIDERS",
    "BARTIZAN_CP_ROTATION_DRAIN_SECONDS",
    "BARTIZAN_CP_ROTATION_LEASE_SECONDS",
    "BARTIZAN_CP_ROTATION_SOAK_SECONDS",
    "BARTIZAN_CRS_DIR",
    "BARTIZAN_DRAIN_SECONDS",
    "BARTIZAN_ENVOY",
    "BARTIZAN_JWKS_ALLOW",
    "BARTIZAN_JWKS_REFRESH",
    "BARTIZAN_LOG_LEVEL",
    "BARTIZAN_MODEL_DIR",
    "BARTIZAN_WIRE",
    "BARTIZAN_WORKERS",
)
"""Settings of the parts that `up` takes from its own environment; it decides all others itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the command line asked for. Empty cert and key: a self-signed pair is made."""

    model: str
    policy_file: Path
    listen: str
    cert: Path | None
    key: Path | None
    state: Path
    secrets: dict[str, Path] = field(default_factory=dict)
    """Definitions (YAML) of upstream credentials that the policy names, by name."""


def prepare(arguments: Arguments) -> dict[str, Any]:
    """The policy document to apply: the file, with listener and model filled in from the command line.

    Raises InvalidInput with every problem: bad addresses, contradictions between file and flags, a broken policy.
    """
    problems: list[Problem] = []
    address, port = _listen(arguments.listen, problems)
    told = Told(address=address, port=port, model_port=_model(arguments.model, problems))
    if (arguments.cert is None) != (arguments.key is None):
        problems.append(Problem(path="--cert", code="incomplete", message="--cert and --key belong together"))
    files = (("--cert", arguments.cert), ("--key", arguments.key))
    for option, path in (*files, *(("--secret", path) for path in arguments.secrets.values())):
        if path is not None and not path.is_file():
            problems.append(Problem(path=option, code="missing", message=f"no such file: {path}"))
        elif path is not None and not os.access(path, os.R_OK):
            problems.append(
                Problem(path=option, code="unreadable", message=f"{path} can't be read by this user")
            )
    for option, path in files:
        if (
            path is not None
            and path.is_file()
            and os.access(path, os.R_OK)
            and b"-----BEGIN " not in path.read_bytes()
        ):
            hint = "openssl x509 and openssl pkey turn DER into PEM: -inform DER -outform PEM"
            problems.append(Problem(path=option, code="unusable", message=f"{path} is no PEM", hint=hint))
    text, document = b"", {}
    try:
        text = arguments.policy_file.read_bytes()
        written = read_policy(text)
        problems += [*written.problems, *contradictions(written.document, told)]
        fill_in(written.document, told)
        validate_document(written.document)
        document = written.document  # as it was written: the same file applied later changes nothing
    except OSError as error:
        why = f"{arguments.policy_file} can't be read: {error.strerror}"
        problems.append(Problem(path="--policy", code="unreadable", message=why))
    except PolicyInvalid as refused:
        problems += refused.problems
    if problems:
        raise InvalidInput(f"can't start with {arguments.policy_file}", with_lines(problems, text))
    return document


def _listen(text: str, problems: list[Problem]) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    try:
        address = str(ipaddress.ip_address(host.strip("[]") or "0.0.0.0"))
        number = int(port)
        if not 0 < number < 65536:
            raise ValueError(port)
    except ValueError:
        message = f"not an address and port: {text!r}"
        problems.append(
            Problem(path="--listen", code="invalid_value", message=message, hint="for example :8443")
        )
        return "127.0.0.1", 8443
    return address, number


def _model(text: str, problems: list[Problem]) -> int:
    parts = urlsplit(text)
    loopback = parts.hostname in {"127.0.0.1", "localhost"}
    if parts.scheme != "http" or not loopback or not parts.port or parts.path.strip("/"):
        message = f"{text!r} is not http://127.0.0.1:PORT"
        hint = "bind the model to loopback, so that nobody can reach it around the guard"
        if "://" not in text:
            hint = f"write http://{text if ':' in text else f'127.0.0.1:{text}'}"
        problems.append(Problem(path="--model", code="invalid_value", message=message, hint=hint))
        return 8000
    return parts.port


def listener_is_free(address: str, port: int) -> bool:
    """Whether no other program listens where clients shall connect. Envoy would find it out last of all."""
    taken = listening_addresses(port)
    everywhere = {"0.0.0.0", "::"}
    return not (taken if address in everywhere else taken & {address, *everywhere})


def stack_for(document: dict[str, Any], state: Path) -> Stack:
    """The stack whose sidecar the policy selects, with the settings of our own environment."""
    metadata, spec = document["metadata"], document["spec"]
    settings = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    workers = settings.get("BARTIZAN_WORKERS", "1")
    return Stack(
        state,
        namespace=metadata.get("namespace", "default"),
        service_account=metadata["name"],
        labels=dict(spec["selector"]["matchLabels"]),
        otlp_endpoint=os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        workers=int(workers) if workers.isdecimal() else 1,  # the sidecar itself says what is wrong with it
        settings=settings,
    )


async def run(arguments: Arguments, say: Callable[[str], None], ready: Callable[[], None]) -> None:
    """Start everything, keep it running until SIGTERM or SIGINT, then stop in reverse order. say: what is done now.
    ready: the policy is proven, and up.json written.
    """
    document = prepare(arguments)
    arguments.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _only_one(arguments.state):
        house = stack_for(document, arguments.state)
        pair = (
            Pair(arguments.cert, arguments.key)
            if arguments.cert and arguments.key
            else self_signed(arguments.state / "self-signed")
        )
        serve(pair, house.cert_dir)
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        try:
            say("starting OpenBao")
            await house.start_openbao()
            say("starting the control plane")
            await house.start_control_plane()
            await house.renew_token()  # one kept from an earlier run may be near its end
            version = await _apply(house, document, arguments.secrets, say)

            async def note() -> None:
                with contextlib.suppress(OSError, ValueError):  # half-way renewed: what is served stays
                    serve(pair, house.cert_dir)
                await write_state(house, document, arguments.model, version, pair.cert)

            await note()
            ready()
            await watch(house, ended, note)
        finally:
            await house.stop()
            (arguments.state / "up.json").unlink(missing_ok=True)


async def _apply(
    house: Stack, document: dict[str, Any], secrets: dict[str, Path], say: Callable[[str], None]
) -> int:
    """Apply the policy, start the sidecar, and wait for the proof."""
    name = f"{document['metadata'].get('namespace', 'default')}/{document['metadata']['name']}"
    authn = document["spec"]["authn"]
    async with house.client() as client:
        if "apiKeys" in authn:
            await client.create_key_set(authn["apiKeys"]["set"])
        for secret, file in secrets.items():
            say(f"making the first key of secret {secret}")
            await client.put_secret(secret, read_yaml(file, f"the definition of secret {secret}"))
            await client.wait_rotated(secret, timeout_seconds=60)
        await _secret_is_defined(client, document)
        applied = await client.apply(dump_document(document), reason="bartizan up")
        say("starting the sidecar, and waiting for its proof")
        await house.start_sidecar(ready=False)
        status = await client.wait_settled(name, applied.version, timeout_seconds=60)
    if not status.enforced:
        reasons = "; ".join(f"{row.path or row.state}: {row.reason}" for row in status.instances)
        raise DependencyUnavailable(
            f"the sidecar does not enforce the policy: {reasons or 'it did not report'}"
        )
    return applied.version


async def _secret_is_defined(client: Client, document: dict[str, Any]) -> None:
    """The sidecar would only say that it does not get the value."""
    name = document["spec"]["model"].get("credential", {}).get("secret")
    if name is not None and name not in {each.name for each in await client.secrets()}:
        where = "spec.model.credential.secret"
        hint = f"give --secret {name}=FILE, the file as `bartizan secrets put --help` has it"
        raise InvalidInput(
            "can't start",
            [Problem(path=where, code="undefined", message=f"no secret {name} is defined here", hint=hint)],
        )


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[IO[str]]:
    """Two stacks on one state folder would corrupt it: the second one is refused."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"a stack already runs on {folder}: `bartizan down` ends it") from None
        yield lock
