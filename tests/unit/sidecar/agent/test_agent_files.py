"""What lies on disk: sealed files, seen versions, the last good bundle, listener certificates."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import trustme

from bartizan.errors import ResourceRejected, TrustError
from bartizan.policy.bundle import TlsSource
from sidecar.agent import conditions as names
from sidecar.agent.changes import Changes
from sidecar.agent.conditions import Conditions
from sidecar.agent.files import read_pair
from sidecar.agent.lastgood import LastGood, Saved, SavedSecret
from sidecar.agent.sealed import Seal, write_atomically
from sidecar.agent.versions import SeenVersions

SOURCE = TlsSource(name="listener", cert="file:tls.crt", key="file:tls.key")
SAVED = Saved(
    saved_at=1.0,
    bundle=b"bundle",
    key_sets={"a": b"keys"},
    secrets={"s": SavedSecret(generation="1", secret=b"xyz")},
)


def conditions() -> Conditions:
    return Conditions(Changes())


def test_a_sealed_file_opens_only_with_its_key_under_its_name(tmp_path: Path) -> None:
    seal, other = Seal(b"k" * 32), Seal(b"o" * 32)
    file = tmp_path / "state" / "one.sealed"
    assert seal.open(file) is None
    seal.save(file, b"plain text")
    assert seal.open(file) == b"plain text"
    assert b"plain" not in file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(TrustError, match="another key"):
        other.open(file)
    with pytest.raises(TrustError, match="changed"):
        seal.open(file.rename(tmp_path / "state" / "two.sealed"))


@pytest.mark.parametrize("damage", [b"", b"bzs1", b"bzs1" + b"\0" * 40, b"nonsense" * 10])
def test_a_damaged_sealed_file_is_refused(tmp_path: Path, damage: bytes) -> None:
    file = tmp_path / "one.sealed"
    file.write_bytes(damage)
    with pytest.raises(TrustError):
        Seal(b"k" * 32).open(file)


def test_a_seal_key_needs_entropy(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("short")
    with pytest.raises(TrustError, match="too short"):
        Seal.from_file(tmp_path / "key")
    with pytest.raises(TrustError, match="unreadable"):
        Seal.from_file(tmp_path / "none")


def test_a_seal_key_of_random_bytes_may_begin_or_end_with_white_space(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b" " + b"k" * 30 + b"\n")
    Seal.from_file(tmp_path / "key").save(tmp_path / "sealed", b"data")
    assert Seal.from_file(tmp_path / "key").open(tmp_path / "sealed") == b"data"


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_atomically(file, b"old")
    with pytest.raises(TypeError):
        write_atomically(file, "no bytes")  # type: ignore[arg-type]
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_seen_versions_survive_a_restart_and_never_fall(tmp_path: Path) -> None:
    file = tmp_path / "versions.json"
    first = SeenVersions(file, conditions())
    first.took_bundle("a/b", 5)
    first.took_bundle("a/b", 3)
    first.took_key_set("k", 2)
    assert first.bundle("a/b") == 5
    assert not file.exists(), "what must be saved before is saved by then"
    first.persist(first.encoded())
    again = SeenVersions(file, conditions())
    assert (again.bundle("a/b"), again.bundle("other"), again.key_set("k")) == (5, 0, 2)


@pytest.mark.parametrize("held", [b"{", b'{"bundles": {"\xff": 1}}'])
def test_a_damaged_version_file_does_not_stop_the_agent_and_an_unwritable_one_is_a_condition(
    tmp_path: Path,
    held: bytes,
) -> None:
    file = tmp_path / "versions.json"
    file.write_bytes(held)
    holding = conditions()
    damaged = SeenVersions(file, holding)
    assert damaged.bundle("a/b") == 0
    assert names.VERSIONS_LOST in holding
    damaged.took_bundle("a/b", 1)
    damaged.persist(damaged.encoded())
    assert names.VERSIONS_LOST in holding, "until the next start: the history stays unknown"
    assert holding.ready
    assert SeenVersions(file, conditions()).bundle("a/b") == 1
    (tmp_path / "blocked").write_text("")
    blocked = SeenVersions(tmp_path / "blocked" / "versions.json", holding)
    blocked.took_bundle("a/b", 1)
    blocked.persist(blocked.encoded())
    assert names.VERSIONS_NOT_SAVED in holding


async def _saved(last_good: LastGood, collect: Callable[[], Saved | None], done: Callable[[], bool]) -> None:
    async def save() -> None:
        await last_good.write(collect())

    task = asyncio.get_running_loop().create_task(last_good.run(save))
    last_good.changed()
    async with asyncio.timeout(60):
        while not done():
            await asyncio.sleep(0.01)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_the_last_good_bundle_comes_back_sealed(tmp_path: Path) -> None:
    file = tmp_path / "last-good.sealed"
    await _saved(LastGood(file, Seal(b"k" * 32), conditions()), lambda: SAVED, file.exists)
    assert LastGood(file, Seal(b"k" * 32), conditions()).read() == SAVED
    assert LastGood(file, Seal(b"x" * 32), conditions()).read() is None
    await _saved(LastGood(file, Seal(b"k" * 32), conditions()), lambda: None, lambda: not file.exists())
    assert not file.exists()


class SlowAtFirst(Seal):
    """A disk that takes its time, once."""

    def __init__(self) -> None:
        super().__init__(b"k" * 32)
        self.began, self.go_on = threading.Event(), threading.Event()

    def save(self, path: Path, data: bytes) -> None:
        if not self.began.is_set():
            self.began.set()
            self.go_on.wait(60)
        super().save(path, data)


async def test_what_is_saved_last_stays_also_when_nobody_waits_any_more_for_what_came_before(
    tmp_path: Path,
) -> None:
    seal = SlowAtFirst()
    last_good = LastGood(tmp_path / "f", seal, conditions())
    newer = msgspec.structs.replace(SAVED, bundle=b"newer")
    async with asyncio.TaskGroup() as group:
        first = group.create_task(last_good.write(SAVED))
        await asyncio.to_thread(seal.began.wait, 60)
        first.cancel()
        second = group.create_task(last_good.write(newer))
        await asyncio.wait({second}, timeout=0.2)
        seal.go_on.set()
    while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(tasks)
    await asyncio.get_running_loop().shutdown_default_executor()
    assert last_good.read() == newer


async def test_a_disk_that_refuses_the_last_good_file_is_a_condition(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("")
    holding = conditions()
    last_good = LastGood(tmp_path / "blocked" / "f", Seal(b"k" * 32), holding)
    await _saved(last_good, lambda: SAVED, lambda: names.LAST_GOOD_NOT_SAVED in holding)
    assert names.LAST_GOOD_NOT_SAVED in holding


def test_without_a_seal_key_nothing_is_kept_on_disk_and_status_says_so(tmp_path: Path) -> None:
    holding = conditions()
    assert LastGood(tmp_path / "f", None, holding).read() is None
    assert names.NOT_SEALED in holding
    assert holding.ready


def _write_pair(folder: Path, ca: trustme.CA, expires: dt.datetime | None = None) -> None:
    issued = ca.issue_cert("localhost", not_after=expires)
    issued.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    issued.private_key_pem.write_to_path(folder / "tls.key")


def test_a_good_pair_is_read_also_through_the_symlinks_of_kubernetes(tmp_path: Path) -> None:
    real = tmp_path / "..2026_01_01"
    real.mkdir()
    _write_pair(real, trustme.CA())
    (tmp_path / "..data").symlink_to(real.name)
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    pair = read_pair(tmp_path, SOURCE)
    assert pair.name == "listener"
    assert len(pair.leaf_sha256) == 32
    assert "PRIVATE" not in repr(pair)


def _break(how: str, folder: Path) -> None:
    ca = trustme.CA()
    match how:
        case "no certificate":
            (folder / "tls.crt").unlink()
        case "no key":
            (folder / "tls.key").unlink()
        case "garbage":
            (folder / "tls.crt").write_text("garbage")
        case "key garbage":
            (folder / "tls.key").write_text("garbage")
        case "other key":
            ca.issue_cert("x").private_key_pem.write_to_path(folder / "tls.key")
        case "expired":
            _write_pair(folder, ca, dt.datetime.now(dt.UTC) - dt.timedelta(days=1))
        case "escapes":
            (folder / "tls.crt").unlink()
            (folder / "tls.crt").symlink_to("/etc/hostname")
        case "huge":
            (folder / "tls.crt").write_bytes(b"x" * 300_000)


@pytest.mark.parametrize(
    ("how", "reason", "path"),
    [
        ("no certificate", "file_missing", "spec.listener.tls.cert"),
        ("no key", "file_missing", "spec.listener.tls.key"),
        ("garbage", "certificate_unreadable", "spec.listener.tls.cert"),
        ("key garbage", "key_unreadable", "spec.listener.tls.key"),
        ("other key", "key_does_not_match_certificate", "spec.listener.tls.key"),
        ("expired", "certificate_expired", "spec.listener.tls.cert"),
        ("escapes", "file_outside_certificate_folder", "spec.listener.tls.cert"),
        ("huge", "file_unreadable", "spec.listener.tls.cert"),
    ],
)
def test_a_bad_pair_is_refused_with_the_document_path(
    tmp_path: Path, how: str, reason: str, path: str
) -> None:
    _write_pair(tmp_path, trustme.CA())
    _break(how, tmp_path)
    with pytest.raises(ResourceRejected) as caught:
        read_pair(tmp_path, SOURCE)
    assert (caught.value.reason, caught.value.path) == (reason, path)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "", "file:", ".."])
def test_a_file_name_can_not_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ResourceRejected, match="file_"):
        read_pair(tmp_path, TlsSource(name="x", cert=name, key="file:tls.key"))
