"""Header blocks of one connection's requests, read and judged (RFC 7541, RFC 9113 §8). Pure.

Envoy sends the same bytes with every call of a kind: a block that came before, and means the same since the table of
header compression is the same, is known by its bytes.
"""

from __future__ import annotations

import re
from typing import Final

import hpack
import msgspec

from sidecar.wire import grpc_status as status
from sidecar.wire.http2_frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, ConnectionBroken

_MOST_KNOWN: Final = 8
_MOST_REMEMBERED: Final = 1024
"""Bytes of a block that is remembered."""
_REQUEST: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
_NEEDED: Final = frozenset({b":method", b":scheme", b":path"})
_OF_A_CONNECTION: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
_LENGTH: Final = b"content-length"
_NOT_IN_NAMES: Final = bytes((*range(0x21), *b":", *range(0x41, 0x5B), *range(0x7F, 0x100)))
_NOT_IN_VALUES: Final = b"\0\r\n"
_THREE_RESIZES: Final = re.compile(rb"(?:[\x20-\x3e]|\x3f[\x80-\xff]*[\x00-\x7f]){3}")
"""At the start of a block. Two say all there is to say of the table's size (RFC 7541 §4.2), and a block has room for 65,536."""


class Block(msgspec.Struct, frozen=True, gc=False):
    """What a block says. Malformed ones have no headers: their streams end (RFC 9113 §8.1.1)."""

    headers: status.Headers
    length: int = -1
    """Bytes of the body as content-length has it, -1 where it says nothing."""


_MALFORMED: Final = Block(())


class Blocks:
    """`most` bytes and `most_fields` fields are in one block, as HTTP/2 counts them; more end the connection."""

    __slots__ = ("_decoder", "_known", "_most_fields", "plain")

    def __init__(self, most: int, most_fields: int) -> None:
        self._decoder = hpack.Decoder(max_header_list_size=most)
        self._known: dict[bytes, Block] = {}
        self.plain: dict[bytes, status.Headers] = {}
        """Of the known ones those that are well-formed and say no length."""
        self._most_fields = most_fields

    def request(self, raw: bytes) -> Block:
        """A block that opens a stream. Raises ConnectionBroken where the table is lost."""
        found = self._known.get(raw)
        return self._new(raw) if found is None else found

    def trailers(self, raw: bytes) -> bool:
        """Whether a block may end a stream. What it says is of no use to gRPC's servers. Raises as `request`."""
        self._forget()  # it may have changed the table
        return _fields_fit(self._decoded(raw), frozenset())

    def _new(self, raw: bytes) -> Block:
        table = self._decoder.header_table.dynamic_entries
        first, count, most = table[0] if table else None, len(table), self._decoder.header_table_size
        judged = _judged(self._decoded(raw))
        same = (
            (table[0] if table else None) is first
            and len(table) == count
            and self._decoder.header_table_size == most
        )
        if not same or len(self._known) >= _MOST_KNOWN:
            self._forget()
        if same and len(raw) <= _MOST_REMEMBERED:
            self._known[raw] = judged
            if judged.headers and judged.length < 0:
                self.plain[raw] = judged.headers
        return judged

    def _forget(self) -> None:
        self._known.clear()
        self.plain.clear()

    def _decoded(self, raw: bytes) -> status.Headers:
        if _THREE_RESIZES.match(raw):
            raise ConnectionBroken(ENHANCE_YOUR_CALM)
        try:
            fields = tuple((bytes(name), bytes(value)) for name, value in self._decoder.decode(raw, raw=True))
        except hpack.OversizedHeaderListError:
            raise ConnectionBroken(ENHANCE_YOUR_CALM) from None
        except hpack.HPACKError:
            raise ConnectionBroken(COMPRESSION_ERROR) from None
        if len(fields) > self._most_fields:
            raise ConnectionBroken(ENHANCE_YOUR_CALM)
        return fields


def _judged(headers: status.Headers) -> Block:
    fields = dict(headers)
    if not (_fields_fit(headers, _REQUEST) and fields.keys() >= _NEEDED and fields[b":path"]):
        return _MALFORMED
    length = fields.get(_LENGTH)
    if length is None:
        return Block(headers)
    if not length.isdigit() or len(length) > 18:
        return _MALFORMED
    return Block(headers, int(length))


def _fields_fit(headers: status.Headers, pseudo: frozenset[bytes]) -> bool:
    """Whether names and values may be in HTTP/2 (RFC 9113 §8.2, §8.3): pseudo-headers of these names only,
    once and first; one length.
    """
    seen: set[bytes] = set()
    regular = False
    for name, value in headers:
        if name[:1] == b":":
            if regular or name not in pseudo or name in seen:
                return False
            seen.add(name)
        else:
            regular = True
            if name == _LENGTH and name in seen:
                return False
            seen.add(name)
            if not name or name in _OF_A_CONNECTION or name.translate(None, _NOT_IN_NAMES) != name:
                return False
            if name == b"te" and value != b"trailers":
                return False
        if value.translate(None, _NOT_IN_VALUES) != value or value.strip(b" \t") != value:
            return False
    return True
