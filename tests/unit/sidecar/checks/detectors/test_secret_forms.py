"""Secrets by form: whatever has the form of a provider's key is found, placeholders are not, names announce the rest."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bartizan.policy.checks import Secrets
from sidecar.checks.detectors import secrets
from sidecar.checks.detectors.secret_rules_announced import ANNOUNCED, entropy
from sidecar.checks.detectors.secrets import RULES

CHECK = secrets.build(Secrets())
ALONE = [rule for rule in RULES if rule not in ANNOUNCED and not rule.pattern.groups]


@pytest.mark.parametrize("number", range(len(ALONE)))
@settings(max_examples=1, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_whatever_has_a_providers_form_is_found_in_a_sentence(number: int, data: st.DataObject) -> None:
    rule = ALONE[number]
    drawn = st.from_regex(rule.pattern, fullmatch=True, alphabet=st.characters(codec="ascii"))
    token = data.draw(drawn.filter(lambda text: secrets._is_secret(rule, text, whole=True)))
    text = f"the key {token} was posted"
    assert any(match.start <= 8 and match.end >= 8 + len(token) for match in CHECK.matches(text)), token


def test_there_are_more_than_sixty_formats() -> None:
    assert len({rule.kind for rule in ALONE}) > 100


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("client_secret=bP88Q1rcBcYjzzOhg1Hnn76Wm3jGgakZ", "bP88Q1rcBcYjzzOhg1Hnn76Wm3jGgakZ"),
        ('{"apiKey": "6fe4476ee5a1832882e326b506d14126"}', "6fe4476ee5a1832882e326b506d14126"),
        ("API_KEY: zq83hfk20dkw93jf8", "zq83hfk20dkw93jf8"),
        ("my token is zq83hfk20dkw93jf8, keep it", "zq83hfk20dkw93jf8"),
        ("DB_PASSWORD='hT7#kd02L'", "hT7#kd02L"),
        ("pwd=hT7#kd02L", "hT7#kd02L"),
        ("Authorization: Basic YXBpOmQya2VMRTc4ekx4IXQ1", "YXBpOmQya2VMRTc4ekx4IXQ1"),
        ("curl -u elastic:P4ssw0rd!x https://localhost:9200", "elastic:P4ssw0rd!x"),
        ('curl --user "api:d2LkV78zLx!t" x', "api:d2LkV78zLx!t"),
    ],
)
def test_a_name_announces_a_secret_and_only_the_secret_is_the_match(text: str, secret: str) -> None:
    assert [text[match.start : match.end] for match in CHECK.matches(text)] == [secret]


@pytest.mark.parametrize(
    "text",
    [
        "password: changeme1A, password = yourPassword1, token: ${GITHUB_TOKEN1234567}",
        "api_key = os.environ['API_KEY_1']; secret: <your-secret-123456789>",
        "token = get_token_from_vault_2(), the secret of good bread is time",
        "What is the password policy? My password is not working.",
        "docker run -u 1000:1000 image; sudo --user alice:staff-group",
        "AKIAIOSFODNN7EXAMPLE, ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx, glpat-xxxxxxxx-xxxxxxxxxxxxxxxxxx",
        "hf_requiredCharacteristicTypesForDisplayMetadata and xoxo-indieweb-1 and xoxb-my-bot-token",
        "secretKeyRef: name: my-app-v1.2.3, tokens per second: 1234567890123456",
    ],
)
def test_placeholders_and_talk_are_none(text: str) -> None:
    assert not CHECK.matches(text)


def test_entropy_is_in_bits_per_character() -> None:
    assert entropy("aaaa") == 0
    assert entropy("abcd") == 2


BASIC = "Authorization: Basic " + "YXBpOmQya2VMRTc4ekx4IXQ1"
BEARER = "Bearer " + "zq83hfk20dkw93jf8xyz1"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (BASIC * 2, [BASIC[21:] + "Authorization", BASIC[21:]]),
        (BASIC * 3, [*[BASIC[21:] + "Authorization"] * 2, BASIC[21:]]),
        (BEARER * 2, [BEARER[7:] + "Bearer", BEARER[7:]]),
    ],
)
def test_announcements_that_run_together_announce_each_its_own(text: str, values: list[str]) -> None:
    assert [text[match.start : match.end] for match in CHECK.matches(text)] == values


@pytest.mark.parametrize(
    "said",
    [
        "AKIAQ3EGRIJ7SNNH2LKP",
        "aws_secret = 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",
        "password: 'xK4%vq9!LmZ'",
    ],
)
def test_a_secret_is_found_wherever_a_stretch_of_a_long_text_ends(said: str) -> None:
    (alone,) = CHECK.matches(said)
    for before in range(2 * secrets._STRETCH - len(said), 2 * secrets._STRETCH + 1):
        text = f"{said} {' ' * (before - len(said) - 1)}{said}"
        found = CHECK.matches(text)
        assert [(match.start, match.end) for match in found] == [
            (alone.start + begin, alone.end + begin) for begin in (0, before)
        ]
