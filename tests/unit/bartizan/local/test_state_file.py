"""A spoilt file of the laptop stack's state is told by name, with what to do; what it holds is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bartizan.errors import InvalidInput
from bartizan.local.doctor import examine
from bartizan.local.openbao import OpenBao
from bartizan.local.stack import Stack
from bartizan.local.up_state import read_state

SPOILT = [
    pytest.param(b"", id="empty"),
    pytest.param(b'{"api": "s3cr', id="broken off"),
    pytest.param(b'{"api": "\xff\xfes3cret"}', id="no UTF-8"),
    pytest.param(b'{"x":' * 5000 + b"1" + b"}" * 5000, id="deep"),
    pytest.param(b'"s3cret"', id="another type"),
    pytest.param(b"[70000, -1]", id="no ports"),
]


def told(refused: pytest.ExceptionInfo[InvalidInput], file: Path) -> None:
    (problem,) = refused.value.problems
    assert (problem.path, bool(problem.hint)) == (str(file), True)
    assert "s3cr" not in f"{refused.value.summary} {problem.message}"


@pytest.mark.parametrize("content", SPOILT)
def test_spoilt_ports_are_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "ports.json"
    file.write_bytes(content)
    with pytest.raises(InvalidInput) as refused:
        Stack(tmp_path)
    told(refused, file)


@pytest.mark.parametrize("content", SPOILT)
async def test_the_doctor_names_spoilt_ports(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "ports.json"
    file.write_bytes(content)
    (check,) = [one for one in await examine(tmp_path) if one.name == "ports"]
    assert (check.result, str(file) in check.found, str(file) in check.mend) == ("bad", True, True)


@pytest.mark.parametrize("content", SPOILT)
async def test_spoilt_ids_of_instances_are_refused(tmp_path: Path, content: bytes) -> None:
    stack, file = Stack(tmp_path), tmp_path / "instances.json"
    file.write_bytes(content)
    with pytest.raises(InvalidInput) as refused:
        await stack.retire_earlier("new")
    told(refused, file)


@pytest.mark.parametrize(
    "content",
    [
        *SPOILT,
        b"{}",
        b'{"root_token": "s3cret"}',
        b'{"unseal_key": "s3cret", "root_token": ""}',
        b'{"unseal_key": 5, "root_token": "s3cret"}',
    ],
)
def test_spoilt_keys_of_openbao_are_refused_and_its_ports_made_anew(tmp_path: Path, content: bytes) -> None:
    bao = OpenBao(tmp_path)
    for file in (tmp_path / "unseal.json", tmp_path / "ports.json"):
        file.write_bytes(content)
    with pytest.raises(InvalidInput) as refused:
        bao._keys()
    told(refused, tmp_path / "unseal.json")
    assert all(0 < port < 65536 for port in bao._ports())


@pytest.mark.parametrize("content", SPOILT)
def test_a_spoilt_file_names_no_running_stack(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "up.json").write_bytes(content)
    assert read_state(tmp_path) is None
