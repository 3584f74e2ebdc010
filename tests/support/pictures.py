"""Pictures for tests: good ones with something hidden in them, and bombs."""

from __future__ import annotations

import base64
import io
import random
import struct
import zlib
from typing import Any

from PIL import Image, PngImagePlugin

CANARY = "canarypicture7f3a9c21"
KINDS = ("png", "jpeg", "webp", "gif")


def picture(kind: str = "png", *, frames: int = 1, size: tuple[int, int] = (64, 48), **how: Any) -> bytes:
    """A picture of one colour, another one in each frame."""
    taken = [Image.new("RGB", size, (40 * number % 256, 80, 120)) for number in range(frames)]
    if frames > 1:
        how |= {"save_all": True, "append_images": taken[1:], "duration": 50}
    out = io.BytesIO()
    taken[0].save(out, kind, **how)
    return out.getvalue()


def noise(kind: str, size: tuple[int, int], *, blocks: int = 1, **how: Any) -> bytes:
    """A picture that can't be packed well, or, of larger blocks, only by who takes the time."""
    small = (size[0] // blocks, size[1] // blocks)
    made = Image.frombytes("RGB", small, random.Random(7).randbytes(small[0] * small[1] * 3))
    out = io.BytesIO()
    made.resize(size, Image.Resampling.NEAREST).save(out, kind, **how)
    return out.getvalue()


def loaded(kind: str, *, orientation: int = 1) -> bytes:
    """A picture whose metadata hold the canary, and that has it once more behind its end."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, CANARY
    how: dict[str, Any] = {}
    match kind:
        case "png":
            text = PngImagePlugin.PngInfo()
            text.add_text("note", CANARY)
            text.add_itxt("XML:com.adobe.xmp", CANARY)
            how = {"pnginfo": text, "exif": exif, "icc_profile": CANARY.encode()}
        case "jpeg":
            how = {"exif": exif, "comment": CANARY, "icc_profile": CANARY.encode(), "xmp": CANARY.encode()}
        case "webp":
            how = {"exif": exif.tobytes(), "icc_profile": CANARY.encode(), "xmp": CANARY.encode()}
        case "gif":
            how = {"comment": CANARY}
    return picture(kind, **how) + CANARY.encode()


def png(width: int, height: int, packed: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG that says this size and holds these packed pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    made = [(b"IHDR", header), *chunks, (b"IDAT", packed), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, made))


def _chunk(named: tuple[bytes, bytes]) -> bytes:
    name, data = named
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    """A few kilobytes that say that they are gigabytes."""
    return png(width, height, zlib.compress(bytes(3_000_000), 9))


def data_url(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def bytes_of(url: str) -> bytes:
    return base64.b64decode(url.partition(",")[2])


def opened(data: bytes) -> Any:
    return Image.open(io.BytesIO(data))


def form(*parts: tuple[str, bytes], boundary: str = "----tests7f3a9c21") -> tuple[str, bytes]:
    """Content type and body of a form. A part: what follows `name=` up to the blank line, and its content."""
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; name={head}\r\n\r\n".encode() + content + b"\r\n"
        for head, content in parts
    )
    return f"multipart/form-data; boundary={boundary}", body + f"--{boundary}--\r\n".encode()
