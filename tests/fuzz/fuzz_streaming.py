"""The long form of the streaming guarantee: answers of every wire, split anywhere, against the unstreamed ones.

`python -m tests.fuzz.play streaming --cases 150000` makes that many; two of seven each are redacted, cut, and have tokens
put back, one has its text in blocks. What is compared is in tests/unit/sidecar/formats/test_streaming_guarantee.py and
test_restoring_guarantee.py, and in tests/unit/sidecar/checks/test_joined_blocks.py.
"""

from __future__ import annotations

import random

from tests.fuzz.program import Program
from tests.support.wire import ARGUMENTS
from tests.support.wires import WIRES
from tests.unit.sidecar.checks.test_joined_blocks import blocks_alike
from tests.unit.sidecar.formats.test_restoring_guarantee import CHANGED, SAID, restored_alike
from tests.unit.sidecar.formats.test_streaming_guarantee import (
    PLANTED,
    Case,
    cut_alike,
    redacted_alike,
    split,
    writer,
)

_PROSE = 'abz AB Z09 .,-_@+%/()\n\t"\\:=\u00e9\u732b\U0001f600'
_TOKENS = (*SAID, *CHANGED, *PLANTED[:2])
_LONGEST = 700


def one_input(data: bytes) -> None:
    """Its first byte: which property."""
    program = Program(data)
    match program.byte() % 7:
        case 0 | 1:
            redacted_alike(case_of(program, PLANTED))
        case 2 | 3:
            cut_alike(case_of(program, PLANTED))
        case 4:
            restored_alike(case_of(program, _TOKENS), checked=True)
        case 5:
            text = "".join(_piece(program, PLANTED) for _ in range(program.byte() % 7))
            places = [program.byte() for _ in range(1 + program.byte() % 3)]
            blocks_alike(program.choice(("anthropic", "openai")), text, places, 1 + program.byte() % 40)
        case _:
            restored_alike(case_of(program, _TOKENS), checked=False)


def case_of(program: Program, planted: tuple[str, ...]) -> Case:
    """One answer and its way over the wire."""
    wire = program.choice(WIRES)
    names = {program.choice(wire.streams) for _ in range(1 + program.byte() % 3)}
    inner, outer = (writer(program.flag(), program.flag()) for _ in range(2))
    texts: dict[str, str] = {}
    for name in sorted(names, key=wire.streams.index):
        text = "".join(_piece(program, planted) for _ in range(program.byte() % 7))
        texts[name] = inner({"a": text, "b": ["x", 1]}) if name.startswith(ARGUMENTS) else text
    queues = {
        name: split(text, [program.byte() * 3 + program.byte() % 3 for _ in range(program.byte() % 13)])
        for name, text in texts.items()
    }
    order = [program.choice(sorted(queues)) for _ in range(program.byte() % 41)]
    end = program.choice((b"\n", b"\r\n", b"\r")) if wire.named or wire.protocol == "openai" else b"\n"
    alone = program.flag()
    sizes = None if alone else [1 + program.byte() % 60 for _ in range(program.byte() % 61)]
    return Case.of(wire, texts, queues, order, outer=outer, end=end, sizes=sizes)


def _piece(program: Program, planted: tuple[str, ...]) -> str:
    """Something that is found, a blank, prose, or characters of any kind."""
    match program.byte() % 8:
        case 0 | 1 | 2 | 3:
            return program.choice(planted)
        case 4:
            return " "
        case 5 | 6:
            return "".join(_PROSE[byte % len(_PROSE)] for byte in program.take(program.byte() % 21))
    codes = (program.byte() << 8 * (program.byte() % 3) | program.byte() for _ in range(program.byte() % 12))
    return "".join(chr(code) for code in codes if code < 0x110000 and not 0xD800 <= code < 0xE000)


def fresh(chance: random.Random) -> bytes:
    """A case that owes nothing to others."""
    return chance.randbytes(_LONGEST)


def seeds() -> list[bytes]:
    chance = random.Random(7)
    return [fresh(chance) for _ in range(200)]
