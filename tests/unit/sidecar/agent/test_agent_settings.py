"""The agent's settings: where they come from, and that every mistake is reported at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from bartizan.errors import InvalidInput
from sidecar.settings import Settings, load


@pytest.fixture
def base(tmp_path: Path) -> dict[str, str]:
    for name in ("envoy", "bundle", "trust", "seal"):
        (tmp_path / name).write_text("x")
    return {
        "BARTIZAN_CONFIG": str(tmp_path / "none.yaml"),
        "BARTIZAN_ENVOY": str(tmp_path / "envoy"),
        "BARTIZAN_JOIN_TOKEN_FILE": str(tmp_path / "token"),
        "PATH": "/nowhere",
        "AWS_SECRET_ACCESS_KEY": "not for children",
    }


def test_defaults_are_those_of_a_pod(base: dict[str, str]) -> None:
    made = load(base)
    assert made.run_dir == Path("/run/bartizan")
    assert (made.health_host, made.health_port) == ("127.0.0.1", 15020)
    assert made.workers == 1
    assert made.child_environment == {"PATH": "/nowhere"}


def test_every_mistake_is_reported_at_once(base: dict[str, str]) -> None:
    wrong = {
        "BARTIZAN_WORKERS": "0",
        "BARTIZAN_HEALTH_LISTEN": "nine",
        "BARTIZAN_API": "http://plain",
        "BARTIZAN_LOG_LEVEL": "loud",
        "BARTIZAN_WIRE": "http3",
        "BARTIZAN_DRAIN_SECONDS": "-1",
        "BARTIZAN_JWKS_ALLOW": "10.0.0.0/99",
        "BARTIZAN_JWKS_REFRESH": "0",
        "BARTIZAN_RUN_DIR": "/" + "x" * 100,
        "BARTIZAN_TRUST_FILE": "/no/such/file",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "nowhere",
    }
    with pytest.raises(InvalidInput) as caught:
        load({**base, **wrong})
    assert {problem.path for problem in caught.value.problems} == set(wrong)
    assert all(problem.hint for problem in caught.value.problems)


def test_the_environment_wins_over_the_file(base: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "sidecar.yaml"
    file.write_text("workers: 3\nlog_level: debug\njwks_allow: [10.0.0.0/8, 'idp:8443']\n")
    made: Settings = load({**base, "BARTIZAN_LOG_LEVEL": "error"}, file)
    assert (made.workers, made.log_level) == (3, "error")
    assert made.jwks_allow == ("10.0.0.0/8", "idp:8443")


@pytest.mark.parametrize("text", ["- a list", "worker: 1", "a: [", "\x00"])
def test_a_file_that_is_no_mapping_of_settings_is_refused(
    base: dict[str, str], tmp_path: Path, text: str
) -> None:
    file = tmp_path / "sidecar.yaml"
    file.write_text(text)
    with pytest.raises(InvalidInput):
        load(base, file)


def test_a_pods_token_needs_what_a_join_token_would_have_said(base: dict[str, str], tmp_path: Path) -> None:
    token = {"BARTIZAN_KUBERNETES_TOKEN_FILE": str(tmp_path / "pod-token")}
    with pytest.raises(InvalidInput) as caught:
        load({**base, **token})
    assert [problem.path for problem in caught.value.problems] == [
        "BARTIZAN_ATTEST",
        "BARTIZAN_CONTROL_PLANE",
        "BARTIZAN_JOIN_TOKEN_FILE",
        "BARTIZAN_TRUST_FILE",
    ]
    del base["BARTIZAN_JOIN_TOKEN_FILE"]
    (tmp_path / "trust.json").write_text("{}")
    addresses = {"BARTIZAN_ATTEST": "cp:18001", "BARTIZAN_CONTROL_PLANE": "cp:18000"}
    made = load({**base, **token, **addresses, "BARTIZAN_TRUST_FILE": str(tmp_path / "trust.json")})
    assert made.kubernetes_token_file == tmp_path / "pod-token"


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        pytest.param((), "BARTIZAN_JOIN_TOKEN_FILE", id="nothing says who we are"),
        pytest.param(("bundle",), "BARTIZAN_TRUST_FILE", id="a bundle without keys to verify it"),
    ],
)
def test_a_missing_combination_names_what_to_set(
    base: dict[str, str], tmp_path: Path, present: tuple[str, ...], missing: str
) -> None:
    del base["BARTIZAN_JOIN_TOKEN_FILE"]
    extra = {f"BARTIZAN_{name.upper()}_FILE": str(tmp_path / name) for name in present}
    with pytest.raises(InvalidInput) as caught:
        load({**base, **extra})
    assert [problem.path for problem in caught.value.problems] == [missing]


def test_what_the_injector_says_of_the_pod_is_read(base: dict[str, str]) -> None:
    made = load(
        {
            **base,
            "BARTIZAN_POD_IPS": "10.1.2.3,fd00::3",
            "BARTIZAN_CAPTURE": "redirect",
            "BARTIZAN_APP_PROBES": '{"/app-probes/m/liveness":{"tcpSocket":{"port":8000},"timeoutSeconds":1}}',
            "BARTIZAN_EGRESS_NAMES": "api.example.com, *.example.org,api.example.com",
        }
    )
    assert made.pod_ips == ("10.1.2.3", "fd00::3")
    assert made.capture == "redirect"
    assert list(made.app_probes) == ["/app-probes/m/liveness"]
    assert made.egress_names == ("api.example.com", "*.example.org")


def test_what_no_injector_would_say_is_refused(base: dict[str, str]) -> None:
    wrong = {
        "BARTIZAN_POD_IPS": "ten",
        "BARTIZAN_CAPTURE": "tproxy",
        "BARTIZAN_APP_PROBES": '{"/x":{"exec":["sh"]}}',
        "BARTIZAN_EGRESS_NAMES": "*",
    }
    with pytest.raises(InvalidInput) as caught:
        load({**base, **wrong})
    assert {problem.path for problem in caught.value.problems} == set(wrong)
