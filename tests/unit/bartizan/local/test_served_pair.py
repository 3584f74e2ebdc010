"""What `bartizan up` serves is what it was told to serve, in a form that the agent takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bartizan.local.certificates import make_certificate
from bartizan.local.served_pair import Pair, self_signed, serve
from bartizan.policy.bundle import TlsSource
from sidecar.agent.files import read_pair

SOURCE = TlsSource(name="listener", cert="file:tls.crt", key="file:tls.key")


def written(folder: Path) -> Pair:
    folder.mkdir(exist_ok=True)
    pair = Pair(folder / "model.pem", folder / "model.key")
    make_certificate(*pair, name="model", days=9)
    return pair


def test_the_agent_takes_a_pair_from_elsewhere_and_again_when_it_is_renewed(tmp_path: Path) -> None:
    served = tmp_path / "certificates"
    for _ in range(2):
        pair = written(tmp_path / "theirs")
        serve(pair, served)
        assert read_pair(served, SOURCE).chain == pair.cert.read_bytes()
    assert [file.stat().st_mode & 0o777 for file in served.iterdir()] == [0o600, 0o600]


def test_a_link_of_an_earlier_release_gives_way(tmp_path: Path) -> None:
    pair, served = written(tmp_path / "theirs"), tmp_path / "certificates"
    served.mkdir()
    (served / "tls.crt").symlink_to(pair.cert)
    serve(pair, served)
    assert read_pair(served, SOURCE).chain == pair.cert.read_bytes()


def test_what_is_served_stays_while_a_file_of_the_pair_is_away(tmp_path: Path) -> None:
    pair, served = written(tmp_path / "theirs"), tmp_path / "certificates"
    serve(pair, served)
    chain = pair.cert.read_bytes()
    written(tmp_path / "theirs").key.unlink()
    with pytest.raises(FileNotFoundError):
        serve(pair, served)
    assert read_pair(served, SOURCE).chain == chain


def test_without_a_pair_one_is_made_and_kept_for_the_next_start(tmp_path: Path) -> None:
    first, second = (self_signed(tmp_path).cert.read_bytes() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("spoilt", ["nearly over", "empty", "without key"])
def test_a_pair_that_can_not_serve_for_long_is_made_anew(tmp_path: Path, spoilt: str) -> None:
    made = self_signed(tmp_path)
    if spoilt == "nearly over":
        make_certificate(*made, name="old", days=9)
    elif spoilt == "empty":
        made.cert.write_bytes(b"")
    else:
        made.key.unlink()
    before = made.cert.read_bytes()
    serve(self_signed(tmp_path), tmp_path / "served")
    assert read_pair(tmp_path / "served", SOURCE).chain == made.cert.read_bytes() != before
