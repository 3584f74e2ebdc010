"""Pieces of a streamed answer <-> Envoy's messages, where nearly all of an exchange are: a piece of text between bytes that go
by its length. Read and written without protobuf, which builds three objects for each; all other messages are protobuf's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from protos.gen.envoy.service.ext_proc.v3 import external_processor_pb2 as proc
from sidecar.model.events import AnswerBody, AnswerData
from sidecar.wire.translate import reply_message

LONGEST: Final = 4_096
"""Bytes of a piece: longer ones are rare, and protobuf's part in their cost is small."""
_KNOWN: Final = 1_024
_PATIENCE: Final = 8
"""Messages of one exchange that are learned from: what stands behind the piece is of one size in nearly all of them."""


class PieceReader:
    """Reads messages of one exchange. Envoy repeats its metadata behind each piece, which nobody reads twice; its members
    come in any order, so that only its size is known.
    """

    __slots__ = ("_begins", "_left", "behind")

    def __init__(self) -> None:
        self.behind = 0
        self._begins = b""
        """Tag and length of the metadata, whose last byte is the message's."""
        self._left = _PATIENCE

    def read(self, message: bytes) -> AnswerBody | None:
        """The piece of which this message is made, if it is not the answer's last; None for any other message."""
        size = len(message) - self.behind
        if not 0 < size <= LONGEST:
            return None
        head = _head(size)
        if head is not None and message.startswith(head) and message.startswith(self._begins, size):
            return AnswerBody(data=message[len(head) : size], end=False)
        return None

    def learn(self, request: proc.ProcessingRequest, message: bytes) -> None:
        """Take the size of the metadata from a message that protobuf has read."""
        if not self._left or request.WhichOneof("request") != "response_body":
            return
        self._left -= 1
        behind = len(message) - proc.ProcessingRequest(response_body=request.response_body).ByteSize()
        metadata = proc.ProcessingRequest(metadata_context=request.metadata_context).SerializeToString()
        if behind == len(metadata):
            self._begins = metadata[: behind - request.metadata_context.ByteSize()]
            self.behind = behind


@lru_cache(maxsize=_KNOWN)
def _head(size: int) -> bytes | None:
    """What stands before the piece in a message of this many bytes without its metadata; None: there is none of this size."""
    for length in range(size - 1, max(0, size - 16), -1):
        made = proc.ProcessingRequest(response_body=proc.HttpBody(body=bytes(length))).SerializeToString()
        if len(made) == size:
            return made[: size - length]
    return None


def piece_message(piece: AnswerData) -> bytes:
    """As translate.reply_message writes it."""
    data = piece.data
    if piece.end or len(data) > LONGEST:
        return reply_message(piece)
    return _reply_head(len(data)) + data


@lru_cache(maxsize=_KNOWN)
def _reply_head(size: int) -> bytes:
    made = reply_message(AnswerData(data=bytes(size), end=False))
    return made[: len(made) - size]
