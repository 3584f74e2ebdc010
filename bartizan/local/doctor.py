"""`bartizan doctor`: walks the whole chain, from binaries to the model's own port, and says how to mend what is wrong."""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import shutil
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import aiohttp
import msgspec
from cryptography import x509

from bartizan.errors import InvalidInput, NotFound
from bartizan.local.binaries import find_binary
from bartizan.local.stack import Ports
from bartizan.local.state_file import read_state_file
from bartizan.local.up_state import UpState, read_state

MIN_FREE_BYTES = 512 * 1024 * 1024
MAX_SKEW_SECONDS = 2.0
MIN_CERTIFICATE_DAYS = 7


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the doctor's report; `mend` says what to do when it is not good."""

    name: str
    result: Literal["good", "warning", "bad"]
    found: str
    mend: str = ""


async def examine(folder: Path) -> list[Check]:
    """All checks, in the order of the chain. Those of running parts are made only when a stack runs on `folder`."""
    checks = [_binary("envoy"), _binary("bao"), disk(folder)]
    running = read_state(folder)
    checks.append(_ports(folder, running))
    if running is None:
        mend = (
            "start one with `bartizan up --model URL --policy FILE`, or see --url for a remote control plane"
        )
        checks.append(Check(name="stack", result="warning", found=f"nothing runs on {folder}", mend=mend))
        return checks
    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        probes = {
            "OpenBao": _openbao,
            "control plane": _control_plane,
            "sidecar": _sidecar,
            "clock": _clock,
        }
        checks += [await _guarded(name, make, session, running) for name, make in probes.items()]
    checks += [
        await asyncio.to_thread(_listener, running),
        _certificate(Path(running.certificate)),
        _model(running.model),
    ]
    return checks


def _binary(name: str) -> Check:
    try:
        return Check(name=f"binary {name}", result="good", found=str(find_binary(name)))
    except NotFound as error:
        return Check(name=f"binary {name}", result="bad", found="none to run", mend=str(error))


def disk(folder: Path) -> Check:
    """Whether what runs on `folder` has room to write, also before the folder is made."""
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    found = f"{free // 2**20} MiB free at {place}"
    if free >= MIN_FREE_BYTES:
        return Check(name="disk", result="good", found=found)
    return Check(
        name="disk", result="bad", found=found, mend="free some space: OpenBao and the store must write"
    )


def _ports(folder: Path, running: UpState | None) -> Check:
    """The stack's own ports: free while it is down, and never open beyond loopback."""
    try:
        ports = msgspec.structs.asdict(read_state_file(folder / "ports.json", Ports, ""))
    except InvalidInput as refused:
        (problem,) = refused.problems
        mend = f"remove {problem.path}: the next start takes free ports"
        return Check(name="ports", result="bad", found=f"{problem.path}: {problem.message}", mend=mend)
    except OSError:
        return Check(name="ports", result="good", found="none reserved yet: the first start takes free ones")
    open_now = {name: addresses for name, port in ports.items() if (addresses := listening_addresses(port))}
    beyond = sorted(name for name, addresses in open_now.items() if not all(map(is_loopback, addresses)))
    if beyond:
        mend = "nothing of the laptop stack listens beyond loopback: end the other program on these ports"
        return Check(name="ports", result="bad", found=f"open to the network: {', '.join(beyond)}", mend=mend)
    if running is None and open_now:
        taken = ", ".join(f"{name} {ports[name]}" for name in open_now)
        mend = f"end the program on them, or remove {folder / 'ports.json'} to take other ports"
        return Check(name="ports", result="bad", found=f"taken by another program: {taken}", mend=mend)
    missing = sorted(set(ports) - set(open_now)) if running else []
    if missing:
        mend = f"see the logs in {folder}"
        return Check(name="ports", result="bad", found=f"closed: {', '.join(missing)}", mend=mend)
    return Check(
        name="ports", result="good", found=f"{len(ports)} {'open' if running else 'free'} on loopback"
    )


Probe = Callable[[aiohttp.ClientSession, UpState], Awaitable[Check]]


async def _guarded(name: str, make: Probe, session: aiohttp.ClientSession, running: UpState) -> Check:
    try:
        return await make(session, running)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        mend = f"look at the logs in {running.state}; `bartizan down`, then `bartizan up` starts it again"
        return Check(name=name, result="bad", found=f"does not answer ({type(error).__name__})", mend=mend)


async def _openbao(session: aiohttp.ClientSession, running: UpState) -> Check:
    async with session.get(f"{running.openbao}/v1/sys/health", ssl=False) as answer:  # loopback, status only
        status = answer.status
    meaning = {200: "active", 429: "standby", 501: "not initialised", 503: "sealed"}.get(
        status, f"status {status}"
    )
    if status == 200:
        return Check(name="OpenBao", result="good", found=f"{meaning} at {running.openbao}")
    mend = "restart the stack: `up` unseals it; nothing new can be issued or rotated until then, traffic is served"
    return Check(name="OpenBao", result="bad", found=meaning, mend=mend)


async def _control_plane(session: aiohttp.ClientSession, running: UpState) -> Check:
    context = ssl.create_default_context(cafile=running.ca_file)
    try:
        async with session.get(f"{running.api}/readyz", ssl=context) as answer:
            text = (await answer.text())[:300]
    except aiohttp.ClientConnectorCertificateError:
        # Until Vault has signed one its certificate is makeshift: the reason may be read, it is not believed.
        async with session.get(f"{running.api}/readyz", ssl=False) as answer:
            text = (await answer.text())[:300]
        mend = "mend what the reasons name, OpenBao first; without any, something else listens on that port"
        return Check(
            name="control plane", result="bad", found=f"its certificate is not the CA's; {text}", mend=mend
        )
    if answer.status == 200:
        return Check(name="control plane", result="good", found=f"ready at {running.api}")
    return Check(
        name="control plane", result="bad", found=text, mend="mend what the reasons name, OpenBao first"
    )


async def _sidecar(session: aiohttp.ClientSession, running: UpState) -> Check:
    async with session.get(f"{running.health}/readyz") as answer:
        text = (await answer.text())[:300]
    if answer.status == 200:
        return Check(name="sidecar", result="good", found=f"ready, health at {running.health}")
    return Check(name="sidecar", result="bad", found=text, mend=f"see {running.state}/sidecar.log")


async def _clock(session: aiohttp.ClientSession, running: UpState) -> Check:
    """Against the control plane's Date header (whole seconds). On one machine both read the same clock."""
    context = ssl.create_default_context(cafile=running.ca_file)
    async with session.get(f"{running.api}/healthz", ssl=context) as answer:
        theirs = email.utils.parsedate_to_datetime(answer.headers.get("Date", ""))
    skew = abs((datetime.datetime.now(datetime.UTC) - theirs).total_seconds())
    if skew <= MAX_SKEW_SECONDS:
        return Check(name="clock", result="good", found=f"{skew:.0f} s apart from the control plane")
    mend = "synchronise the clocks (chrony, systemd-timesyncd): certificates and tokens depend on them"
    return Check(name="clock", result="bad", found=f"{skew:.0f} s apart", mend=mend)


def _listener(running: UpState) -> Check:
    """A TLS handshake on the listener, and whether it serves the certificate that lies on disk."""
    parts = urlsplit(running.listen)
    host = "127.0.0.1" if parts.hostname in {"0.0.0.0", None} else str(parts.hostname)
    port = parts.port or 8443
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), 5) as raw, context.wrap_socket(raw) as connection:
            served = connection.getpeercert(binary_form=True)
    except OSError as error:
        mend = f"see {running.state}/sidecar.log; without its certificate or policy the port stays closed"
        return Check(name="listener", result="bad", found=f"{host}:{port}: {error}", mend=mend)
    on_disk = x509.load_pem_x509_certificate(Path(running.certificate).read_bytes())
    if served and x509.load_der_x509_certificate(served) == on_disk:
        return Check(name="listener", result="good", found=f"{host}:{port} serves {running.certificate}")
    mend = "wait a second after a renewal; if it stays, the new pair was refused: see the sidecar's status"
    return Check(
        name="listener", result="warning", found="serves another certificate than the file's", mend=mend
    )


def _certificate(path: Path) -> Check:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        return Check(
            name="certificate", result="bad", found=f"{path}: {error}", mend="give a readable PEM file"
        )
    left = (certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)).days
    if left >= MIN_CERTIFICATE_DAYS:
        return Check(name="certificate", result="good", found=f"{left} days left")
    return Check(
        name="certificate", result="bad", found=f"{left} days left", mend=f"renew {path}; it is picked up"
    )


def _model(url: str) -> Check:
    """Whether the model answers on loopback, and only there."""
    port = urlsplit(url).port or 80
    listeners = listening_addresses(port)
    if not listeners:
        return Check(
            name="model", result="bad", found=f"nothing listens on port {port}", mend="start your model"
        )
    beyond = sorted(address for address in listeners if not is_loopback(address))
    if beyond:
        mend = "bind it to 127.0.0.1, otherwise everybody in the network can reach it around the guard"
        return Check(
            name="model", result="bad", found=f"port {port} is open on {', '.join(beyond)}", mend=mend
        )
    return Check(name="model", result="good", found=f"port {port} is open on loopback only")


def is_loopback(address: str) -> bool:
    """127.0.0.0/8, ::1, and their IPv4-mapped forms."""
    return address.startswith(("127.", "::ffff:127.")) or address == "::1"


def listening_addresses(port: int) -> set[str]:
    """Local addresses with a listening TCP socket on `port`, from /proc/net/tcp and tcp6 (state 0A)."""
    found: set[str] = set()
    for family, path in ((socket.AF_INET, "/proc/net/tcp"), (socket.AF_INET6, "/proc/net/tcp6")):
        try:
            lines = Path(path).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            address, _, number = fields[1].partition(":")
            if fields[3] == "0A" and int(number, 16) == port:
                # The kernel prints 32-bit words in host byte order.
                words = [bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8)]
                found.add(socket.inet_ntop(family, b"".join(words)))
    return found
