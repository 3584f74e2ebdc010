"""Where a provider may be: judged as it will be asked, by what the operator listed."""

from __future__ import annotations

import pytest

from control_plane.secrets.definition import HttpProvider
from control_plane.secrets.providers.places import Places

LISTED = "https://keys.example/bartizan, /run/keys.sock,https://other.example:8443"


@pytest.mark.parametrize(
    ("listed", "provider"),
    [
        ("", {"socket": "/run/any.sock"}),
        ("", {"url": "http://localhost:8080"}),
        ("", {"url": "http://127.0.0.9:8080"}),
        ("", {"url": "http://[::1]:8080/x"}),
        (LISTED, {"url": "https://keys.example/bartizan"}),
        (LISTED, {"url": "https://KEYS.example:443/bartizan/deeper/"}),
        (LISTED, {"url": "https://other.example:8443"}),
        (LISTED, {"socket": "/run/keys.sock"}),
        (LISTED, {"socket": "/run/x/../keys.sock", "url": "https://only-a-host-header.example"}),
    ],
)
def test_what_is_listed_may_be_asked_and_without_a_list_what_is_on_this_machine(
    listed: str, provider: dict[str, str]
) -> None:
    assert Places.parse(listed).problems(HttpProvider(**provider)) == []


@pytest.mark.parametrize(
    ("listed", "provider"),
    [
        ("", {"url": "http://keys.example"}),
        ("", {"url": "https://keys.example"}),
        ("", {"url": "https://localhost@keys.example"}),
        ("", {"url": "https://localhost.evil.example"}),
        ("", {"url": "http://", "verify": "/keys.example/x"}),
        ("", {"url": "http://localhost:99999"}),
        (LISTED, {"url": "http://127.0.0.1"}),
        (LISTED, {"url": "http://keys.example/bartizan"}),
        (LISTED, {"url": "https://keys.example/bartizan2"}),
        (LISTED, {"url": "https://keys.example:444/bartizan"}),
        (LISTED, {"url": "https://keys.example.evil/bartizan"}),
        (LISTED, {"url": "https://keys.example/bartizan/../admin"}),
        (LISTED, {"url": "https://keys.example/bartizan", "verify": "/../admin"}),
        (LISTED, {"url": "https://keys.example/bartizan", "create": "/%2e%2e/admin"}),
        (LISTED, {"socket": "/run/keys.sock2"}),
        ("/run/keys.sock", {"url": "http://localhost"}),
        ("https://keys.example", {"socket": "/run/keys.sock"}),
    ],
)
def test_nothing_else_is_sent_a_secret(listed: str, provider: dict[str, str]) -> None:
    assert {problem.code for problem in Places.parse(listed).problems(HttpProvider(**provider))} == {
        "provider_not_allowed"
    }


@pytest.mark.parametrize(
    "listed", ["http://keys.example", "keys.example", "https://", "https://a?x=1", "ftp://a"]
)
def test_a_list_with_a_mistake_is_refused(listed: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        Places.parse(listed)
