"""Keys of pseudonyms are files of the sidecar: read before a plan is loaded, again when they change, shown to nobody."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from bartizan.errors import ResourceRejected
from bartizan.policy.bundle import GuardPlan
from bartizan.policy.checks import Pii
from sidecar.agent.changes import Changes
from sidecar.agent.messages import SetPseudonymKeys
from sidecar.agent.pseudonym_keys import PseudonymKeys
from sidecar.agent.workers import WorkerPool
from sidecar.checks.admission.request_rate import Buckets
from sidecar.plan.load import load_plan
from tests.support.guard import guard_plan

KEY = b"k" * 32


def plan(name: str = "file:a.key") -> GuardPlan:
    return guard_plan(output=(Pii(), Pii(types=("email",), replacement="pseudonym", key=name)))


@pytest.fixture
def pool(tmp_path: Path) -> WorkerPool:
    return WorkerPool(
        count=1,
        run_dir=tmp_path,
        probe_key=b"",
        environment={},
        changes=Changes(),
        on_audit=lambda _: None,
        on_lost=lambda: None,
    )


def told(pool: WorkerPool) -> dict[str, bytes]:
    """What a worker that starts now is told, and that it is told so before its plans."""
    kinds = [type(message).__name__ for message in pool._state(0)]
    assert kinds.index("SetPseudonymKeys") < kinds.index("Listen")
    (message,) = [message for message in pool._state(0) if isinstance(message, SetPseudonymKeys)]
    return message.keys


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("file:a.key", None, "file_missing"),
        ("file:a.key", KEY[:31], "pseudonym_key_too_short"),
        ("file:../a.key", KEY, "file_outside_certificate_folder"),
    ],
)
def test_a_plan_without_its_key_is_refused_with_the_fields_path(
    tmp_path: Path, pool: WorkerPool, name: str, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / "a.key").write_bytes(content)
    with pytest.raises(ResourceRejected) as refusal:
        PseudonymKeys(tmp_path, pool).want(plan(name))
    assert (refusal.value.reason, refusal.value.path) == (reason, "spec.output[1].pii.key")
    assert told(pool) == {}


def test_workers_get_every_byte_of_a_key_and_a_newer_one_when_it_changes(
    tmp_path: Path, pool: WorkerPool
) -> None:
    keys = PseudonymKeys(tmp_path, pool)
    (tmp_path / "a.key").write_bytes(KEY + b"\n")
    keys.want(plan())
    pool._tell_plan(plan())
    assert told(pool) == {"file:a.key": KEY + b"\n"}
    with capture_logs() as logged:
        keys.renew()
        (tmp_path / "a.key").write_bytes(b"n" * 32)
        keys.renew()
        assert told(pool) == {"file:a.key": b"n" * 32}
        (tmp_path / "a.key").unlink()
        keys.renew()
        keys.renew()
    assert told(pool) == {"file:a.key": b"n" * 32}, "the old key stays"
    assert [line["event"] for line in logged] == ["pseudonym_key_renewed", "pseudonym_key_refused"]
    assert "nnnn" not in repr(logged) + repr(pool._state(0))


def test_a_key_lives_as_long_as_a_plan_that_names_it_and_is_read_again_when_it_comes_back(
    tmp_path: Path, pool: WorkerPool
) -> None:
    keys = PseudonymKeys(tmp_path, pool)
    for name in ("a", "b"):
        (tmp_path / f"{name}.key").write_bytes(name.encode() * 32)
    older, newer = plan(), msgspec.structs.replace(plan("file:b.key"), id="newer")
    for each in (older, newer):
        keys.want(each)
        pool._tell_plan(each)
    keys.renew()
    assert set(told(pool)) == {"file:a.key", "file:b.key"}, "the older one drains"
    pool.drop(older.id)
    keys.renew()
    assert told(pool) == {"file:b.key": b"b" * 32}
    (tmp_path / "a.key").write_bytes(b"n" * 32)
    keys.want(older)
    assert told(pool) == {"file:a.key": b"n" * 32, "file:b.key": b"b" * 32}
    (tmp_path / "a.key").unlink()
    with pytest.raises(ResourceRejected, match="file_missing"):
        keys.want(older)


def test_a_worker_without_the_key_refuses_the_plan() -> None:
    buckets = Buckets(clock=lambda: 0.0)
    with pytest.raises(ResourceRejected, match="key of pseudonyms"):
        load_plan(plan(), buckets)
    assert load_plan(plan(), buckets, {"file:a.key": KEY}).output.binds
