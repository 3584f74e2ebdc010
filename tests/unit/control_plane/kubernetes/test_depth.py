"""What is nested too deeply becomes null; the rest stays byte for byte."""

from __future__ import annotations

import msgspec
import pytest

from control_plane.kubernetes.depth import DEEPEST, cut


@pytest.mark.parametrize(
    ("raw", "left"),
    [
        (b"1", b"1"),
        (b'{"a": [1, {}]}', b'{"a": [1, null]}'),
        (b"[[[1], [[2]]], [3]]", b"[[null, null], [3]]"),
        (b'[["[[[", "{\\"[["], "\\\\", [{"a": "]"}, 4]]', b'[["[[[", "{\\"[["], "\\\\", [null, 4]]'),
        (b'{"[[[": {"]": 1}}', b'{"[[[": {"]": 1}}'),
        (b"[[[[[[[[]]]]]]],\n 5]", b"[[null],\n 5]"),
    ],
)
def test_only_what_is_deeper_is_cut(raw: bytes, left: bytes) -> None:
    assert cut(raw, 2) == left
    msgspec.json.decode(left)


@pytest.mark.parametrize("raw", [b"[" * 9_990 + b"]" * 9_990, b'{"a":' * 9_990 + b"1" + b"}" * 9_990])
def test_what_no_decoder_takes_can_be_decoded(raw: bytes) -> None:
    with pytest.raises(RecursionError):
        msgspec.json.decode(raw)
    left = msgspec.json.decode(cut(raw))
    for _ in range(DEEPEST):
        (left,) = left.values() if isinstance(left, dict) else left
    assert left is None


@pytest.mark.parametrize("raw", [b"[" * 5000, b"]" * 5000, b'["' + b"[" * 5000, b'[[[{"a": [[[['])
def test_what_is_no_json_does_not_become_json(raw: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, RecursionError)):
        msgspec.json.decode(cut(raw, 2))
