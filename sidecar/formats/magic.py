"""What a picture is, by its first bytes: names and media types say nothing that a sender could not say wrongly."""

from __future__ import annotations

import base64
import binascii
import re

_SIGNATURES: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("jpeg", re.compile(rb"\xff\xd8\xff")),
    ("gif", re.compile(rb"GIF8[79]a")),
    ("webp", re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
    # Known so that they are refused by name, and found where a body holds bytes of unknown meaning.
    ("bmp", re.compile(rb"BM.{4}\x00\x00\x00\x00", re.DOTALL)),
    ("tiff", re.compile(rb"II\x2a\x00|MM\x00\x2a|II\x2b\x00|MM\x00\x2b")),
    ("isobmff", re.compile(rb".{4}ftyp(?:avi[fs]|hei[cfmsx]|hev[cmsx]|mi[af]1|msf1|jxl )", re.DOTALL)),
    ("jxl", re.compile(rb"\xff\x0a|\x00\x00\x00\x0cJXL \r\n\x87\n")),
    ("jp2", re.compile(rb"\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51")),
    ("ico", re.compile(rb"\x00\x00[\x01\x02]\x00[^\x00]\x00")),
    ("psd", re.compile(rb"8BPS")),
    ("dds", re.compile(rb"DDS ")),
    ("hdr", re.compile(rb"#\?R(?:ADIANCE|GBE)")),
    ("exr", re.compile(rb"v/1\x01")),
    ("qoi", re.compile(rb"qoif")),
    ("pnm", re.compile(rb"P[1-7][\s#]")),
    ("eps", re.compile(rb"%!PS|\xc5\xd0\xd3\xc6")),
    ("pdf", re.compile(rb"%PDF-")),
    ("svg", re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|!doctype svg|svg)", re.IGNORECASE)),
)
_LOOKED_AT = 64
_BLANK = re.compile(r"[ \t\r\n]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_DATA_URL = re.compile(r"data:image/", re.IGNORECASE)


def kind_of(data: bytes) -> str:
    """ "png", "jpeg", "gif", "webp", the name of another known kind, or "" for what is no known picture."""
    start = data[:_LOOKED_AT]
    return next((kind for kind, signature in _SIGNATURES if signature.match(start)), "")


def without_blanks(text: str) -> str:
    """Base64 as one word: mail and command lines break it into lines, and every reader takes that."""
    return _BLANK.sub("", text)


def looks_like_picture(text: str) -> bool:
    """Whether a string is a data URL of a picture, or base64 that begins like one."""
    if _DATA_URL.match(text):
        return True
    start = without_blanks(text[: 4 * _LOOKED_AT])[:_LOOKED_AT]
    if len(start) < 16 or not _BASE64.fullmatch(start):
        return False
    try:
        return bool(kind_of(base64.b64decode(start[: len(start) // 4 * 4])))
    except binascii.Error:
        return False
