"""HTTPS to the control plane and back: connection, TLS, and every refusal as the fault that it means.

Below bartizan/client.py, which knows the routes.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from bartizan import api
from bartizan.errors import (
    BartizanError,
    Conflict,
    DependencyError,
    DependencyUnavailable,
    Forbidden,
    InvalidInput,
    NotFound,
    PolicyInvalid,
    Problem,
)

T = TypeVar("T")
Page = TypeVar("Page", api.RevisionList, api.PublicationList, api.InstanceList, api.KeyList, api.PolicyStatus)
Status = TypeVar("Status", api.PolicyStatus, api.MeshStatus)
SECONDS = 30.0
LONGEST_WAIT = 300.0
"""Seconds after which the control plane answers whoever waits for a status, whatever it is by then."""
_OTHER_NAME = (62, 64)
"""OpenSSL: X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


class Transport:
    """One connection pool; use it inside `async with`."""

    def __init__(self, url: str, token: str = "", ca_file: Path | str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise InvalidInput(f"the control plane's address must be https://HOST:PORT, not {url!r}")
        self._url = f"https://{parts.netloc}"
        self._token = token
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        context = _context(self._ca_file)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=32), trust_env=False
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(
        self,
        method: str,
        path: str,
        answer: type[T] | None,
        *,
        body: object = None,
        document: str | bytes | None = None,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        seconds: float = SECONDS,
    ) -> T:
        raw, sent = b"", dict(headers or {})
        if document is not None:
            raw = document.encode() if isinstance(document, str) else document
            sent["Content-Type"] = "application/yaml"
        elif body is not None:
            raw = msgspec.json.encode(body)
            sent["Content-Type"] = "application/json"
        status, got, retry = await self.exchange(method, path, raw, query or {}, sent, seconds)
        if not 200 <= status < 300:
            raise fault(status, got, retry)
        return decode(got, answer) if answer is not None else None  # type: ignore[return-value]

    async def send_all(
        self, path: str, answer: type[Page], of: Callable[[Page], tuple[T, ...]]
    ) -> tuple[T, ...]:
        """What all pages of a list hold."""
        return tuple(each for page in await self.send_pages(path, answer) for each in of(page))

    async def send_pages(self, path: str, answer: type[Page], cursor: str = "") -> list[Page]:
        """All pages, or those from a cursor on. The first asks for nothing that an older control plane does not know."""
        pages: list[Page] = []
        while not pages or cursor:
            pages.append(await self.send("GET", path, answer, query={"cursor": cursor} if cursor else {}))
            cursor = pages[-1].cursor
        return pages

    async def wait(
        self, path: str, answer: type[Status], version: int, seconds: float, *, settled: bool = False
    ) -> Status:
        """Until that version is enforced (or settled), or the time is over."""
        until = time.monotonic() + seconds
        while True:
            left = max(0.0, until - time.monotonic())
            now = min(left, LONGEST_WAIT)
            query = {
                "wait": "settled" if settled else "enforced",
                "version": str(version),
                "timeout": f"{now:.3f}",
            }
            status = await self.send("GET", path, answer, query=query, seconds=now + SECONDS)
            reached = status.version >= version and (status.settled if settled else status.enforced)
            if reached or left <= LONGEST_WAIT:
                return status

    async def exchange(
        self,
        method: str,
        path: str,
        body: bytes,
        query: dict[str, str],
        headers: dict[str, str],
        seconds: float,
    ) -> tuple[int, bytes, float | None]:
        if self._session is None:
            raise RuntimeError("use the client inside `async with`")
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            async with self._session.request(
                method,
                self._url + path,
                params=query,
                data=body or None,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=seconds, connect=10),
            ) as response:
                got = await response.read()
                retry = response.headers.get("Retry-After", "")
                return response.status, got, float(retry) if retry.isdigit() else None
        except aiohttp.ClientConnectorCertificateError as error:
            code = getattr(error.certificate_error, "verify_code", 0)
            wrong = (
                "has a certificate for other names: ask it by the one that it advertises"
                if code in _OTHER_NAME
                else "has a certificate that the CA file does not vouch for"
            )
            raise DependencyUnavailable(f"{self._url} {wrong}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise DependencyUnavailable(
                f"no answer from the control plane at {self._url}: {_why(error)}"
            ) from error


def _why(error: Exception) -> str:
    """In the system's own words where it has some."""
    match error:
        case TimeoutError():
            return "it took too long"
        case ssl.SSLError():  # its numbers are OpenSSL's: 1 is not "Operation not permitted"
            return f"no TLS: {error.strerror or error}"
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number)
        case _:
            return str(error) or type(error).__name__


def _context(ca_file: Path | str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput(f"the CA file {ca_file} can't be read: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def decode(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DependencyError(f"the control plane's answer is not understood: {error}") from error


def fault(status: int, raw: bytes, retry_after: float | None) -> BartizanError:
    try:
        told = msgspec.json.decode(raw, type=api.ProblemDetails)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        told = api.ProblemDetails(
            type="", title="", status=status, detail=f"status {status}", code="", request_id=""
        )
    problems = [
        Problem(path=item.path, code=item.code, message=item.message, hint=item.hint, document=item.document)
        for item in told.problems
    ]
    match status:
        case 422 if told.code == "policy_invalid":
            return PolicyInvalid(told.detail, problems)
        case 400 | 413 | 415 | 422:
            return InvalidInput(told.detail, problems)
        case 401 | 403:
            return Forbidden(told.detail)
        case 404:
            return NotFound(told.detail)
        case 409 | 412:
            return Conflict(told.detail)
        case 429 | 503 | 504:
            return DependencyUnavailable(told.detail, retry_after)
        case _:
            named = f" (request {told.request_id})" if told.request_id else ""
            return DependencyError(f"the control plane answered {status}: {told.detail}{named}")


def word(text: str) -> str:
    """A name as one segment of a path. Raises InvalidInput for what is none."""
    if not text or text in {".", ".."}:
        raise InvalidInput(f"not a name: {text!r}")
    return quote(text, safe="")
