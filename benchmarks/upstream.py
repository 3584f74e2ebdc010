"""The fastest model there is: fixed answers from a raw asyncio server. python -m benchmarks.upstream PORT.

POST with "stream":true in the body: 50 server-sent events, 1 ms apart. Anything else: one JSON answer that has the
fields of both benchmark policies.
"""

from __future__ import annotations

import asyncio
import json
import sys

CHUNKS = 50
_JSON = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "The answer is forty-two, as everybody knows. " * 8,
                },
                "finish_reason": "stop",
            }
        ],
    }
).encode()
ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_JSON)
) + _JSON
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(number: int) -> bytes:
    """One chat completion chunk as an HTTP chunk."""
    delta = {"index": 0, "delta": {"content": f"word{number} and "}, "finish_reason": None}
    data = b"data: " + json.dumps({"object": "chat.completion.chunk", "choices": [delta]}).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


EVENTS = [event(number) for number in range(CHUNKS)]
END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            at = head.find(b"content-length: ")
            body = await reader.readexactly(int(head[at + 16 : head.find(b"\r", at)])) if at >= 0 else b""
            if b'"stream":true' in body[-400:]:
                writer.write(STREAM)
                for chunk in EVENTS:
                    writer.write(chunk)
                    await asyncio.sleep(0.001)
                writer.write(END)
            else:
                writer.write(ANSWER)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main(port: int) -> None:
    """Serve on loopback until killed."""
    server = await asyncio.start_server(serve, "127.0.0.1", port, limit=2**20)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
