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
    # Reserved words should be 0, but readers go by the size of the header that follows.
    ("bmp", re.compile(rb"BM(?:.{4}\x00{4}|.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\x00{3})", re.DOTALL)),
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
    ("pcx", re.compile(rb"\x0a[\x00\x02\x03\x05].[\x01\x08]", re.DOTALL)),
    ("svg", re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|!doctype svg|svg)", re.IGNORECASE)),
    # No signature: a kind, a width and height other than 0, and bits of a pixel.
    (
        "tga",
        re.compile(
            rb".[\x00\x01][\x01-\x03\x09-\x0b].{9}(?!\x00\x00)..(?!\x00\x00)..[\x01\x08\x10\x18\x20]",
            re.DOTALL,
        ),
    ),
)
_ANY = re.compile(
    b"|".join(
        b"(?%b:%b)" % (b"i" if one.flags & re.IGNORECASE else b"s", one.pattern) for _, one in _SIGNATURES
    )
)
"""One step for what is no picture: a body may hold many thousand strings."""
_LOOKED_AT = 64
_BLANK = re.compile(r"[ \t\r\n]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_STRANGE = (re.compile(r"[^A-Za-z0-9+/]+"), re.compile(r"[^A-Za-z0-9+/_-]+"))
"""What lenient readers drop, some of whom know the letters that URLs have for + and /."""
_COMMAS = 4
_SHORTEST = 16
_BARE_JXL = b"\xff\x0a"
"""In base64 three letters, with which paths begin, too ("/work")."""
_DATA_URL = re.compile(r"[\x00-\x20]*data:(?:image/|(?!text/)[^,]{0,1024};\s*base64\s*,)", re.IGNORECASE)


def kind_of(data: bytes) -> str:
    """ "png", "jpeg", "gif", "webp", the name of another known kind, or "" for what is no known picture."""
    start = data[:_LOOKED_AT]
    if not _ANY.match(start):
        return ""
    return next((kind for kind, signature in _SIGNATURES if signature.match(start)), "")


def without_blanks(text: str) -> str:
    """Base64 as one word: mail and command lines break it into lines, and every reader takes that."""
    return _BLANK.sub("", text)


def looks_like_picture(text: str) -> bool:
    """Whether a string is a data URL that may be a picture's, or base64 that begins like one for the most lenient reader."""
    if _DATA_URL.match(text):
        return True
    if len(text) < _SHORTEST:
        return False
    start = without_blanks(text[: 4 * _LOOKED_AT])[:_LOOKED_AT]
    if _BASE64.fullmatch(start) and _kind_in(start):
        return True
    views = [text]  # readers cut off "data:…;base64" at a comma, without a look at it
    while len(views) <= _COMMAS and "," in (last := views[-1])[: 4 * _LOOKED_AT]:
        views.append(last[last.index(",") + 1 :])
    strange = _STRANGE if "-" in text or "_" in text else _STRANGE[:1]
    return any(_kind_in(_letters(view, but), lenient=True) for view in views for but in strange)


def _letters(text: str, strange: re.Pattern[str]) -> str:
    """The first letters of base64, whatever stands between."""
    found = strange.sub("", text[: 4 * _LOOKED_AT])[:_LOOKED_AT]
    if len(found) < _LOOKED_AT < len(text) // 4:
        found = strange.sub("", text)[:_LOOKED_AT]
    return found.replace("-", "+").replace("_", "/")


def _kind_in(start: str, *, lenient: bool = False) -> str:
    if len(start) < _SHORTEST:
        return ""
    try:
        data = base64.b64decode(start[: len(start) // 4 * 4])
    except binascii.Error:
        return ""
    return "" if lenient and data.startswith(_BARE_JXL) else kind_of(data)
