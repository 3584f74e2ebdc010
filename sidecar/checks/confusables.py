"""Letters that look like Latin ones as these, for detectors of forms and phrases: one letter for one.

Cyrillic, Greek and small capitals by a table, accented and mathematical letters by their Unicode decompositions. Used by
views.py (prompt injection) and detectors/canary.py.
"""

from __future__ import annotations

import unicodedata
from typing import Final

LOOK_ALIKES: Final[dict[int, int]] = str.maketrans(
    "авеёзикмнорстухьіїјѕԁԛԝһӏүгбпґɩαβγδεζηθικλμνοπρστυφχψωϲϳıɑɡɪʀʏᴀᴄᴅᴇᴊᴋᴍɴᴏᴘᴛᴜᴠᴡᴢʙɢʜʟ",
    "abee3ukmhopctyxbiijsdqwhlyrbnriabydezn0iklmvonpotuoxywcjiagiryacdejkmnoptuvwzbghl",
)
"""Of lower case."""
_CAPITALS = str.maketrans("\u0397\u039d\u03a5\u039c", "HNYM")
"""Greek capitals (Eta, Nu, Upsilon, Mu) that look like others than their small letters do."""
_DECOMPOSED = (
    *range(0xC0, 0x250),
    *range(0x1E00, 0x1F00),
    *range(0x2100, 0x2190),
    *range(0x24B6, 0x24EA),
    *range(0x1D400, 0x1D800),
)
"""Where accented, letterlike, circled and mathematical letters and digits are."""


def _plain(code: int) -> str:
    made = unicodedata.normalize("NFKD", chr(code))
    letters = [char for char in made if not unicodedata.combining(char)]
    return letters[0] if len(letters) == 1 else ""


_LETTERS: Final[dict[int, str | int]] = {
    **{code: char for code in _DECOMPOSED if (char := _plain(code)) and ord(char) != code},
    **_CAPITALS,
}


def lower_latin(text: str) -> str:
    """Lower case, with letters that look like Latin ones as these; as long as the text is."""
    if text.isascii():
        return text.lower()
    text = text.translate(_LETTERS)
    lowered = text.lower()
    if len(lowered) != len(text):
        lowered = "".join(char.lower()[0] for char in text)
    return lowered.translate(LOOK_ALIKES)
