"""Names for virtual functions of a C++ program without symbols, such as Envoy's wheel: class and place in its vtable.

What a linker leaves is enough (x86-64, relocated by base): a type's description points to its mangled name, a vtable's first
word to that description, and the words behind it to functions. Functions of the same code are one, and get one of their names.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Mapping

_RELATIVE = 8
_WORD = 8
_NAME = re.compile(rb"(?:[NSZ]|\d)[\w$.]{2,2000}\0")


def virtual_functions(program: bytes) -> dict[int, str]:
    """By address in the file: "Envoy::Http::CodecClient #4"."""
    sections = _sections(program)
    pointers = _pointers(program, sections[".rela.dyn"])
    mangled = {
        at - _WORD: name
        for at, to in pointers.items()
        if at - _WORD in pointers and (name := _name(program, sections[".rodata"], to))
    }
    names = dict(zip(mangled, _demangled(list(mangled.values())), strict=True))
    start, _, size = sections[".text"]
    functions: dict[int, str] = {}
    for at, to in pointers.items():
        if to in names:
            place = 0
            while start <= pointers.get(slot := at + _WORD * (place + 1), 0) < start + size:
                functions.setdefault(pointers[slot], f"{names[to]} #{place}")
                place += 1
    return functions


def _sections(program: bytes) -> dict[str, tuple[int, int, int]]:
    """Address, offset and size by name."""
    (table,) = struct.unpack_from("<Q", program, 0x28)
    width, number, named = struct.unpack_from("<HHH", program, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", program, table + width * index) for index in range(number)]
    names = headers[named][4]
    return {
        program[names + name : program.index(0, names + name)].decode(): (address, offset, size)
        for name, _, _, address, offset, size in headers
    }


def _pointers(program: bytes, section: tuple[int, int, int]) -> Mapping[int, int]:
    """Where a word points to, by its address."""
    _, offset, size = section
    entries = struct.iter_unpack("<QQq", program[offset : offset + size])
    return {at: to for at, kind, to in entries if kind == _RELATIVE}


def _name(program: bytes, section: tuple[int, int, int], address: int) -> str:
    start, offset, size = section
    if not start <= address < start + size:
        return ""
    found = _NAME.match(program, offset + address - start)
    return found.group()[:-1].decode() if found else ""


def _demangled(names: list[str]) -> list[str]:
    """As they are where binutils is missing."""
    filt = shutil.which("c++filt")
    if filt is None:
        return names
    said = subprocess.run(
        [filt, "--types"], input="\n".join(names), text=True, capture_output=True, check=True
    )
    return said.stdout.splitlines()
