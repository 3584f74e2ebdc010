"""Where the operator lets key providers be. A definition comes over the API, and what it names is sent secrets: who may
write definitions must not thereby choose where secrets go.
"""

from __future__ import annotations

import ipaddress
import posixpath
from dataclasses import dataclass

from yarl import URL

from bartizan.errors import Problem
from control_plane.secrets.definition import HttpProvider

_SETTING = "BARTIZAN_CP_PROVIDERS"


@dataclass(frozen=True, slots=True)
class Places:
    """Nothing listed: unix sockets and loopback. Otherwise only what is listed, loopback included."""

    urls: tuple[URL, ...] = ()
    sockets: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Places:
        """From a comma list of URL prefixes and paths of sockets. Raises ValueError."""
        urls, sockets = [], []
        for part in filter(None, (each.strip() for each in text.split(","))):
            if part.startswith("/"):
                sockets.append(posixpath.normpath(part))
                continue
            url = _url(part)
            if url is None or url.query_string or url.fragment:
                raise ValueError(
                    "must be a comma list of https://HOST[:PORT][/PATH] and absolute paths of sockets"
                )
            if not _private(url):
                raise ValueError("must be https beyond loopback: secrets are sent there")
            urls.append(url)
        return cls(tuple(urls), tuple(sockets))

    def problems(self, provider: HttpProvider) -> list[Problem]:
        """What speaks against asking this provider; none when it may be asked."""
        if provider.socket:
            if not (self.urls or self.sockets) or posixpath.normpath(provider.socket) in self.sockets:
                return []
            return [_refused("provider.socket", "this socket is not listed by the operator")]
        asked = {
            "provider.url": "",
            "provider.create": provider.create,
            "provider.list": provider.list,
            "provider.revoke": provider.revoke,
            "provider.verify": provider.verify,
        }
        # Judged as it will be asked, after dots and escapes in it were resolved.
        return [
            _refused(path, reason)
            for path, more in asked.items()
            if (reason := self._against(_url(provider.url.rstrip("/") + more)))
        ]

    def _against(self, url: URL | None) -> str:
        if url is None:
            return "not an http or https URL without credentials"
        if not _private(url):
            return "must be https beyond loopback: secrets are sent there"
        if not (self.urls or self.sockets):
            return "" if _loopback(url) else "providers beyond loopback must be listed by the operator"
        if any(_below(url, prefix) for prefix in self.urls):
            return ""
        return "this place is not listed by the operator"


def _refused(path: str, message: str) -> Problem:
    return Problem(path=path, code="provider_not_allowed", message=message, hint=f"see {_SETTING}")


def _url(text: str) -> URL | None:
    try:
        url = URL(text)
        usable = url.scheme in {"http", "https"} and url.host and url.port and url.user is None
    except ValueError:
        return None
    return url if usable else None


def _private(url: URL) -> bool:
    return url.scheme == "https" or _loopback(url)


def _loopback(url: URL) -> bool:
    try:
        return url.host == "localhost" or ipaddress.ip_address(url.host or "").is_loopback
    except ValueError:
        return False


def _below(url: URL, prefix: URL) -> bool:
    path, root = url.path, prefix.path.rstrip("/")
    same = (url.scheme, url.host, url.port) == (prefix.scheme, prefix.host, prefix.port)
    return same and (path.rstrip("/") == root or path.startswith(root + "/"))
