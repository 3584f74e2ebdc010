"""What a picture says of itself before anybody decodes it: size, frames, and where it ends. Pure.

One walk over the file's own structure for each kind, as its specification has it. Anything that does not fit is
refused: two readers could see two pictures in it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

_PNG_METADATA = frozenset({b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP", b"tIME", b"caBX"})
_WEBP_METADATA = frozenset({b"EXIF", b"XMP ", b"ICCP"})
_JPEG_SIZES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_JPEG_METADATA = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})
"""Application data but JFIF's and Adobe's own, and comments."""
_MOST_SCANS = 32
"""Every scan costs a walk over all pixels, however few its bytes. Encoders write about ten."""


class Malformed(Exception):
    """The bytes are not what they begin as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """`end`: where the picture ends in the bytes. `metadata`: it carries more than a picture."""

    width: int
    height: int
    frames: int
    end: int
    metadata: bool = False
    lossless: bool = True


def read(kind: str, data: bytes) -> Container:
    """Raises Malformed. `kind` is one of READERS."""
    try:
        found = READERS[kind](data)
    except (struct.error, IndexError):
        raise Malformed("it ends too early") from None
    if not (found.width and found.height and found.frames) or found.end > len(data):
        raise Malformed("no picture in it, or not all of it")
    return found


def _png(data: bytes) -> Container:
    """https://www.w3.org/TR/png-3/"""
    at, frames, shown, metadata, pixels = 8, 1, 0, False, False
    width = height = 0
    while True:
        length, name = struct.unpack_from(">I4s", data, at)
        body, at = at + 8, at + 12 + length
        if at > len(data):
            raise Malformed("a chunk ends behind the file")
        match name:
            case b"IHDR":
                if width or length != 13 or body != 16:
                    raise Malformed("not one header at the beginning")
                width, height = struct.unpack_from(">II", data, body)
            case b"acTL":
                (frames,) = struct.unpack_from(">I", data, body)
            case b"fcTL":
                shown += 1
            case b"IDAT":
                pixels = True
            case b"IEND":
                if not pixels:
                    raise Malformed("no pixels")
                return Container(
                    width=width, height=height, frames=max(frames, shown, 1), end=at, metadata=metadata
                )
            case _ if name in _PNG_METADATA:
                metadata = True


def _jpeg(data: bytes) -> Container:
    """ITU-T T.81, annex B."""
    at, width, height, metadata, scans = 2, 0, 0, False, 0
    while True:
        if data[at] != 0xFF:
            raise Malformed("no marker where one must be")
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker == 0xD9:
            if not scans:
                raise Malformed("no pixels")
            return Container(width=width, height=height, frames=1, end=at, metadata=metadata, lossless=False)
        if marker in _JPEG_ALONE:
            continue
        if marker in {0x00, 0xD8}:
            raise Malformed("a marker that can't stand there")
        (length,) = struct.unpack_from(">H", data, at)
        if marker in _JPEG_SIZES:
            rows, columns = struct.unpack_from(">HH", data, at + 3)
            width, height = max(width, columns), max(height, rows)
        metadata = metadata or marker in _JPEG_METADATA
        at += length
        if marker == 0xDA:
            scans += 1
            if scans > _MOST_SCANS:
                raise Malformed("more scans than an encoder writes")
            at = _after_scan(data, at)


def _after_scan(data: bytes, at: int) -> int:
    """Where the marker stands that ends a scan's entropy-coded bytes."""
    while (at := data.find(b"\xff", at)) >= 0:
        following = data[at + 1]
        if following == 0xFF:
            at += 1
        elif following == 0x00 or 0xD0 <= following <= 0xD7:
            at += 2
        else:
            return at
    raise Malformed("a scan without end")


def _gif(data: bytes) -> Container:
    """https://www.w3.org/Graphics/GIF/spec-gif89a.txt"""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    frames, metadata = 0, False
    while True:
        match data[at]:
            case 0x3B:
                return Container(width=width, height=height, frames=frames, end=at + 1, metadata=metadata)
            case 0x21:
                label = data[at + 1]
                loops = label == 0xFF and data[at + 3 : at + 14] in {b"NETSCAPE2.0", b"ANIMEXTS1.0"}
                metadata = metadata or (label != 0xF9 and not loops)
                at = _after_blocks(data, at + 2)
            case 0x2C:
                left, top, columns, rows, flags = struct.unpack_from("<HHHHB", data, at + 1)
                width, height = max(width, left + columns), max(height, top + rows)
                frames += 1
                at = _after_blocks(data, at + 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0))
            case _:
                raise Malformed("an unknown block")


def _after_blocks(data: bytes, at: int) -> int:
    while size := data[at]:
        at += 1 + size
    return at + 1


def _webp(data: bytes) -> Container:
    """https://developers.google.com/speed/webp/docs/riff_container"""
    (size,) = struct.unpack_from("<I", data, 4)
    end = 8 + size
    if end > len(data):
        raise Malformed("it ends too early")
    at, frames, metadata, lossless = 12, 0, False, False
    width = height = 0
    while at < end:
        name, length = struct.unpack_from("<4sI", data, at)
        body, at = at + 8, at + 8 + length + length % 2
        if at > end:
            raise Malformed("a chunk ends behind the file")
        match name:
            case b"VP8X":
                width = max(width, 1 + int.from_bytes(data[body + 4 : body + 7], "little"))
                height = max(height, 1 + int.from_bytes(data[body + 7 : body + 10], "little"))
            case b"ANMF":
                frames += 1
            case b"VP8 ":
                columns, rows = struct.unpack_from("<HH", data, body + 6)
                width, height = max(width, columns & 0x3FFF), max(height, rows & 0x3FFF)
            case b"VP8L":
                lossless = True
                (bits,) = struct.unpack_from("<I", data, body + 1)
                width, height = max(width, 1 + (bits & 0x3FFF)), max(height, 1 + (bits >> 14 & 0x3FFF))
            case _ if name in _WEBP_METADATA:
                metadata = True
    return Container(
        width=width, height=height, frames=max(frames, 1), end=end, metadata=metadata, lossless=lossless
    )


READERS: dict[str, Callable[[bytes], Container]] = {"png": _png, "jpeg": _jpeg, "gif": _gif, "webp": _webp}
