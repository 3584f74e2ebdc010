"""Looks for readers whose work grows faster than their input: `python -m tests.fuzz.growth`. Prints what it found as JSON.

Each reader gets short shapes repeated to n, 2n and 4n characters. Work is linear where four times as much takes about
four times as long on the processor; what takes more than MOST times, and long enough to be measured, is printed.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import random
import sys
import time
from collections.abc import Callable, Iterator

from sidecar.checks.stream import StreamInspector
from sidecar.formats.base import FormatError
from tests.fuzz import (
    fuzz_event_streams,
    fuzz_formats,
    fuzz_images,
    fuzz_multipart,
    fuzz_views,
)
from tests.support.wires import WIRES

SIZE = 8192
MOST = 9.0
LONG_ENOUGH = 0.02
_SIGNS = (
    *('"', "\\", "\\\\", '\\"', "\\u", "\\u0061", "[", "]", "{", "}", '{"a":', "[[", ",", ":", "1", "9" * 9),
    *(
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "data: ",
        "data:x\n",
        ": ",
        "event: a\n",
        " ",
        "\t",
        "a",
        "ab ",
        "Z",
        "0x41",
        "%41",
    ),
    *(
        "&#65;",
        "&",
        "<",
        "<a ",
        "<!--",
        "](",
        "](//",
        "![",
        "=",
        "='",
        "://",
        "https://a.",
        "www.",
        "data:a/b,",
        "@",
    ),
    *(
        "a@b.",
        "-",
        "--",
        ".",
        "1 ",
        "4111 ",
        "+49 ",
        "\u0301",
        "\u200b",
        "\uff11",
        "\ufe00",
        "\U000e0041",
        "\u732b",
    ),
    *(
        "i g ",
        "1n ",
        "key=",
        "password: ",
        "AKIA",
        "eyJ.",
        "<EMAIL_1>",
        "\r\n\r\n",
        "--x\r\n",
        "\xff",
        "\xff\xda",
        "{},",
    ),
)


def _readers() -> dict[str, Callable[[str], None]]:
    form = fuzz_formats.FORMATS["openai", "enforce"]

    def body(text: str) -> None:
        for document in (
            text,
            json.dumps({"messages": [{"role": "user", "content": text}]}),
            f'{{"a": [{text}]}}',
        ):
            data = document.encode()
            try:
                found = form.decode_request("/v1/chat/completions", "application/json", data)
            except FormatError:
                continue
            for part in list(found.texts())[:50]:
                found.replace(part.location, part.text + "x")
            found.encode()

    def arguments(text: str) -> None:
        wire = WIRES[0]
        name, said = "arguments:0", json.dumps({"a": text, "b": ["x", 1]})
        pieces = [said[at : at + 64] for at in range(0, len(said), 64)]
        events = [*wire.begin(), *(wire.piece(name, piece) for piece in pieces), *wire.end({})]
        stream = fuzz_event_streams.FORMATS["openai", "enforce"].answer_stream(wire.path, wire.kind)
        assert stream is not None
        inspector = StreamInspector(stream, fuzz_event_streams.CHECKS, shadow=False)
        for event in events:
            inspector.feed(wire.event(event, json.dumps), end=False)
        inspector.feed(b"", end=True)

    def detectors(text: str) -> None:
        for check in fuzz_views.SPANS:
            check.matches(text)
            check.settled(text)

    return {
        "a body": body,
        "views": fuzz_views.seen,
        "detectors of stretches": detectors,
        "links": fuzz_views.links,
        "a JSON text in a string": lambda text: fuzz_views.json_text(text, [64] * (len(text) // 64)),
        "events of SSE": lambda text: fuzz_event_streams.server_sent(text.encode(), [64]),
        "lines of NDJSON": lambda text: fuzz_event_streams.lines(text.encode(), [64]),
        "streamed arguments": arguments,
        "a form": lambda text: fuzz_multipart.check(text.encode()),
        "a picture": lambda text: fuzz_images.source("", "base64", text),
    }


def _shapes(chance: random.Random, pairs: int) -> Iterator[str]:
    yield from _SIGNS
    every = [one + other for one, other in itertools.permutations(_SIGNS, 2)]
    yield from chance.sample(every, min(pairs, len(every)))


def _seconds(play: Callable[[str], None], text: str) -> float:
    began = time.process_time()
    play(text)
    return time.process_time() - began


def main() -> None:
    """Measure all, print what grows too fast, end with status 1 for it."""
    parser = argparse.ArgumentParser(prog="tests.fuzz.growth")
    parser.add_argument(
        "--pairs", type=int, default=200, help="so many shapes of two signs beside those of one"
    )
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    fuzz_event_streams._MOST = 1 << 20
    worst: dict[str, tuple[float, str]] = {}
    found, measured = [], 0
    gc.disable()
    for name, play in _readers().items():
        for shape in _shapes(random.Random(arguments.seed), arguments.pairs):
            texts = [(shape * (size // len(shape) + 1))[:size] for size in (SIZE, 2 * SIZE, 4 * SIZE)]
            measured += 1
            longest = _seconds(play, texts[2])
            worst[name] = max(worst.get(name, (0.0, "")), (longest, shape))
            if longest < LONG_ENOUGH:
                continue
            times = [min(_seconds(play, text) for _ in range(2)) for text in texts]
            if times[2] > MOST * times[0]:
                found.append({"reader": name, "shape": shape, "ms": [round(one * 1000, 1) for one in times]})
        gc.collect()
    slowest = {name: [round(taken * 1000), shape] for name, (taken, shape) in worst.items()}
    print(json.dumps({"measured": measured, "size": 4 * SIZE, "slowest_ms": slowest, "too_fast": found}))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
