"""Envoy's instructions: which thread counts, what a table of callgrind_annotate says, and names of virtual functions."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from benchmarks.envoy_instructions import NotCounted, busiest, functions
from benchmarks.vtables import virtual_functions

ANNOTATED = """\
--------------------------------------------------------------------------------
Ir                  file:function
--------------------------------------------------------------------------------
12,000 (100.0%)  PROGRAM TOTALS
 9,000 (75.00%)  ???:0x0000000000001010 [/envoy]
 2,000 (16.67%)  ./string/memset.S:__memset_avx2 [/libc.so.6]
   500 ( 4.17%)  ???:0x0000000000001010'2 [/envoy]
   400 ( 3.33%)  ???:0x0000000000001020 [/envoy]
   300 ( 2.50%)  ???:0x0000000000001030 [/envoy]
"""


def test_the_thread_that_did_most_counts(tmp_path: Path) -> None:
    for name, text in {
        "counted.7.1-01": "totals: 30\n",
        "counted.7.1-02": "fn=(1)\ntotals: 5000\n",
        "counted.8.1-01": "totals: 90000\n",
        "counted.7": "desc: nothing yet\n",
    }.items():
        (tmp_path / name).write_text(text)
    assert busiest(tmp_path, 7) == (5000, tmp_path / "counted.7.1-02")


def test_without_totals_there_is_no_count(tmp_path: Path) -> None:
    (tmp_path / "counted.7").write_text("desc: nothing yet\n")
    with pytest.raises(NotCounted):
        busiest(tmp_path, 7)


def test_functions_are_told_by_request_with_the_names_that_are_known() -> None:
    assert functions(ANNOTATED, {0x1010: "Envoy::Filter #2"}, answered=10, most=4) == [
        "         900  Envoy::Filter #2",
        "         200  __memset_avx2",
        "          50  Envoy::Filter #2'2",
        "          40  0x0000000000001020",
    ]


def test_a_virtual_function_is_named_by_its_class_and_its_place() -> None:
    named, described, table, code = 0x1000, 0x3000, 0x3100, 0x2000
    pointers = {
        described: 0x9000,  # the kind of description
        described + 8: named,
        table + 8: described,
        table + 16: code,
        table + 24: code + 0x40,
        table + 32: described,  # no function any more
    }
    program = _elf(
        {
            ".rodata": (named, b"3Cat\0"),
            ".text": (code, bytes(0x100)),
            ".rela.dyn": (0x4000, b"".join(struct.pack("<QQq", at, 8, to) for at, to in pointers.items())),
        }
    )
    found = virtual_functions(program)
    assert [(at, name[-6:]) for at, name in found.items()] == [(code, "Cat #0"), (code + 0x40, "Cat #1")]


def _elf(sections: dict[str, tuple[int, bytes]]) -> bytes:
    """The headers of sections that the reader looks at, and what is in them."""
    names = b"\0" + b"\0".join(name.encode() for name in [*sections, ".shstrtab"]) + b"\0"
    body, headers = bytearray(64), [bytes(64)]
    for name, (address, data) in {**sections, ".shstrtab": (0, names)}.items():
        where = struct.pack("<IIQQQQ", names.index(name.encode()), 0, 0, address, len(body), len(data))
        headers.append(where.ljust(64, b"\0"))
        body += data
    struct.pack_into("<Q", body, 0x28, len(body))
    struct.pack_into("<HHH", body, 0x3A, 64, len(headers), len(headers) - 1)
    return bytes(body) + b"".join(headers)
