"""The control plane's settings: defaults, every mistake at once, no value of a setting in its message."""

from __future__ import annotations

from pathlib import Path

import pytest

from bartizan.errors import InvalidInput
from control_plane.setting_values import Address
from control_plane.settings import read

GOOD = {
    "BARTIZAN_CP_STATE_DIR": "/state",
    "BARTIZAN_CP_TRUST_DOMAIN": "prod.example",
    "BARTIZAN_CP_VAULT_ADDR": "https://vault.example:8200",
    "BARTIZAN_CP_VAULT_TOKEN_FILE": "/run/token",
}


def test_defaults_follow_the_state_folder() -> None:
    settings = read({**GOOD, "PATH": "/bin"})
    assert settings.store == "sqlite+aiosqlite:////state/store.db"
    assert settings.api == Address(host="127.0.0.1", port=8440)
    assert (settings.vault_ca_file, settings.vault_kv) == (None, "bartizan-kv")
    assert settings.state_dir == Path("/state")
    assert settings.audit_days == 90


def test_every_mistake_is_reported_with_its_variable() -> None:
    wrong = {
        "BARTIZAN_CP_STATE_DIR": "state",
        "BARTIZAN_CP_STORE": "mysql://user:hunter2@db/x",
        "BARTIZAN_CP_API_LISTEN": "8440",
        "BARTIZAN_CP_GRPC_LISTEN": "h:99999",
        "BARTIZAN_CP_TRUST_DOMAIN": "Prod Example",
        "BARTIZAN_CP_VAULT_ADDR": "http://vault.example:8200",
        "BARTIZAN_CP_ROTATION_SOAK_SECONDS": "-1",
        "BARTIZAN_CP_ROTATION_DRAIN_SECONDS": "nan",
        "BARTIZAN_CP_AUDIT_DAYS": "-1",
        "BARTIZAN_CP_PROVIDERS": "http://keys.example",
        "BARTIZAN_LOG_LEVEL": "loud",
        "BARTIZAN_CP_API_LISTN": "127.0.0.1:1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4317",
    }
    with pytest.raises(InvalidInput) as refused:
        read(wrong)
    paths = {problem.path for problem in refused.value.problems}
    assert paths == {*wrong, "BARTIZAN_CP_VAULT_TOKEN_FILE"}
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "address"),
    [("[::1]:8440", Address(host="::1", port=8440)), ("0.0.0.0:0", Address(host="0.0.0.0", port=0))],
)
def test_addresses_are_read_and_shown_alike(text: str, address: Address) -> None:
    settings = read({**GOOD, "BARTIZAN_CP_API_LISTEN": text})
    assert settings.api == address
    assert str(settings.api) == text


def test_webhooks_need_a_cluster_and_a_configuration() -> None:
    with pytest.raises(InvalidInput) as caught:
        read({**GOOD, "BARTIZAN_CP_WEBHOOK_LISTEN": "127.0.0.1:9443"})
    assert [each.path for each in caught.value.problems] == [
        "BARTIZAN_CP_INJECTOR_CONFIG",
        "BARTIZAN_CP_KUBERNETES",
    ]
    whole = {
        "BARTIZAN_CP_WEBHOOK_LISTEN": "127.0.0.1:9443",
        "BARTIZAN_CP_INJECTOR_CONFIG": "/etc/bartizan/injector.yaml",
        "BARTIZAN_CP_KUBERNETES": "in-cluster",
    }
    assert read({**GOOD, **whole}).webhook == Address(host="127.0.0.1", port=9443)
    assert read(GOOD).webhook is None


def test_several_replicas_need_a_store_that_they_can_share() -> None:
    shared = {**GOOD, "BARTIZAN_CP_STORE": "postgresql+asyncpg://db/bartizan"}
    assert read({**shared, "BARTIZAN_CP_REPLICAS": "2"}).replicas == 2
    assert read(GOOD).replicas == 1
    with pytest.raises(InvalidInput) as refused:
        read({**GOOD, "BARTIZAN_CP_REPLICAS": "2"})
    (problem,) = refused.value.problems
    assert problem.path == "BARTIZAN_CP_STORE"
    assert "BARTIZAN_CP_REPLICAS" in problem.message
    assert "PostgreSQL" in problem.message
    for wrong in ("0", "two", "-1"):
        with pytest.raises(InvalidInput):
            read({**shared, "BARTIZAN_CP_REPLICAS": wrong})
