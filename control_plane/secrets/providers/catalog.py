"""Every kind of provider: its configuration -> what talks to it."""

from __future__ import annotations

from collections.abc import Mapping

from control_plane.secrets.definition import HttpProvider
from control_plane.secrets.providers.base import Provider
from control_plane.secrets.providers.http import Http


def build(settings: HttpProvider, headers: Mapping[str, str]) -> Provider:
    """`headers`: what authenticates us to the provider, read from its `headers_path`."""
    match settings:
        case HttpProvider():
            return Http(settings, headers)
