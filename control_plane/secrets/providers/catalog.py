"""Every kind of provider: its configuration -> what talks to it."""

from __future__ import annotations

from control_plane.secrets.definition import HttpProvider
from control_plane.secrets.providers.base import Provider
from control_plane.secrets.providers.http import Http


def build(settings: HttpProvider) -> Provider:
    match settings:
        case HttpProvider():
            return Http(settings)
