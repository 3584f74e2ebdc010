"""The forms of numbers that states give to people: a table. With a check digit that is weak or missing, a word must
announce the number.

Streams: a number begins with a digit or is one word; what a text ends with is held while it may become one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from sidecar.checks.detectors import national_ids_europe as europe
from sidecar.checks.detectors import national_ids_world as world
from sidecar.checks.detectors.pii_forms import Form, announced

_LONGEST: Final = 32
_DIGITS_OPEN: Final = re.compile(rf"[0-9](?<![\w].)[0-9A-Za-z .,\-+/]{{0,{_LONGEST - 1}}}\Z")
_WORD_OPEN: Final = re.compile(rf"(?<![\w])[A-Za-z][A-Za-z0-9\-()]{{0,{_LONGEST - 1}}}\Z")
_NINO_OPEN: Final = re.compile(r"(?<![\w])[A-Za-z]{1,2}(?:[ ]?[0-9]{1,2}){0,3}[ ]?[A-Za-z]?\Z")

_ANY_ID: Final = (
    r"national (?:id|identity|identification|insurance)(?: (?:no|number|card|code))?",
    r"(?:identity|identification|identifier|personal|citizen|resident|tax|taxpayer)(?: (?:id|identity|identification))? ?(?:no|number|code|card|nr)",
    r"id (?:no|number|card|nr)",
    r"tax ?id",
    r"tin",
    r"nin",
)
_SSN_WORDS: Final = announced(
    r"ssn", r"social[ -]security(?: (?:no|number|nr))?s?", r"soc\.? sec\.?", r"itin", *_ANY_ID
)


def _id(
    rule: str,
    body: str,
    valid: Callable[[str], bool],
    *words: str,
    needs: bool = False,
    opening: re.Pattern[str] = _DIGITS_OPEN,
    flags: int = 0,
) -> Form:
    """`needs`: without one of the words (of the country, or of any) the number is none. Those that begin with a digit have six
    and more, no more than three signs between two of them.
    """
    return Form(
        kind="national_id",
        rule=rule,
        pattern=re.compile(rf"(?<![\w.,+\-/])({body})(?![\w\-/]|[.,][0-9])", flags),
        sign=("(?i)" if flags & re.IGNORECASE else "") + body,
        opening=opening,
        longest=_LONGEST,
        valid=valid,
        announced=announced(*words, *_ANY_ID) if needs else None,
        score=0.9 if needs else 1.0,
        in_run=opening is _DIGITS_OPEN,
    )


SSN: Final = (
    Form(
        kind="ssn",
        rule="ssn/dashed",
        pattern=re.compile(r"([0-9](?<![\w.,+\-/].)[0-9]{2}-[0-9]{2}-[0-9]{4})(?![\w\-/]|[.,][0-9])"),
        sign=r"[0-9]{3}-[0-9]{2}-[0-9]{4}",
        opening=_DIGITS_OPEN,
        longest=_LONGEST,
        valid=world.us_ssn,
        score=0.9,
        in_run=True,
    ),
    Form(
        kind="ssn",
        rule="ssn/announced",
        pattern=re.compile(
            r"([0-9](?<![\w.,+\-/].)[0-9]{2}[ .\-]?[0-9]{2}[ .\-]?[0-9]{4})(?![\w\-/]|[.,][0-9])"
        ),
        sign=r"[0-9]{3}[ .\-]?[0-9]{2}[ .\-]?[0-9]{4}",
        opening=_DIGITS_OPEN,
        longest=_LONGEST,
        valid=world.us_ssn,
        announced=_SSN_WORDS,
        score=0.9,
        in_run=True,
    ),
)

NATIONAL_IDS: Final = (
    _id("es/dni", r"[0-9]{8}[ \-]?[A-HJ-NP-TV-Z]", europe.spain),
    _id("es/nie", r"[XYZ]-?[0-9]{7}-?[A-HJ-NP-TV-Z]", europe.spain, opening=_WORD_OPEN),
    _id(
        "it/codice-fiscale",
        r"[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]",
        europe.italy,
        opening=_WORD_OPEN,
        flags=re.IGNORECASE,
    ),
    _id(
        "fr/nir",
        r"[12] ?[0-9]{2} ?(?:0[1-9]|1[0-2]|[2-9][0-9]) ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",
        europe.france,
    ),
    _id(
        "de/idnr",
        r"[1-9][0-9] ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}",
        europe.iso_11_10,
        r"steuer-?(?:id|identifikationsnummer|nummer|nr)",
        r"idnr",
        r"tin",
        needs=True,
    ),
    _id("nl/bsn", r"[0-9]{9}", europe.netherlands, r"bsn", r"burgerservicenummer", r"sofinummer", needs=True),
    _id("be/nn", r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}[.\-][0-9]{2}", europe.belgium),
    _id(
        "be/nn-plain",
        r"[0-9]{11}",
        europe.belgium,
        r"rijksregisternummer",
        r"num[ée]ro national",
        r"niss",
        r"insz",
        needs=True,
    ),
    _id("pl/pesel", r"[0-9]{11}", europe.poland, r"pesel", needs=True),
    _id(
        "gb/nhs",
        r"[0-9]{3}[ \-]?[0-9]{3}[ \-]?[0-9]{4}",
        europe.nhs,
        r"nhs(?: (?:no|number))?",
        needs=True,
    ),
    _id(
        "gb/nino",
        r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]",
        europe.nino,
        opening=_NINO_OPEN,
    ),
    _id("se/personnummer", r"(?:19|20)?[0-9]{6}[\-+][0-9]{4}", europe.sweden),
    _id("fi/hetu", r"[0-3][0-9][01][0-9]{3}[\-+ABCDEFYXWVU][0-9]{3}[0-9A-FHJ-NPR-Y]", europe.finland),
    _id(
        "dk/cpr",
        r"[0-3][0-9][01][0-9]{3}-?[0-9]{4}",
        europe.day_first,
        r"cpr(?:-?(?:nr|nummer|number))?",
        r"personnummer",
        needs=True,
    ),
    _id("no/fodselsnummer", r"[0-7][0-9][0-5][0-9]{3} ?[0-9]{5}", europe.norway),
    _id("ch/ahv", r"756[. ]?[0-9]{4}[. ]?[0-9]{4}[. ]?[0-9]{2}", europe.switzerland),
    _id(
        "at/svnr",
        r"[1-9][0-9]{3} ?[0-3][0-9][01][0-9][0-9]{2}",
        europe.austria,
        r"svnr",
        r"sozialversicherungs(?:nummer|nr)",
        r"sv-?nummer",
        needs=True,
    ),
    _id(
        "pt/nif",
        r"[1-35-9][0-9]{2} ?[0-9]{3} ?[0-9]{3}",
        europe.portugal,
        r"nif",
        r"contribuinte",
        needs=True,
    ),
    _id("cz-sk/rodne-cislo", r"[0-9]{6}/[0-9]{4}", europe.czechia),
    _id("ro/cnp", r"[1-8][0-9]{12}", europe.romania, r"cnp", r"cod numeric personal", needs=True),
    _id("bg/egn", r"[0-9]{10}", europe.bulgaria, r"egn", r"егн", needs=True),
    _id("ee-lt/isikukood", r"[1-6][0-9]{10}", europe.baltic, r"isikukood", r"asmens kodas", needs=True),
    _id("gr/amka", r"[0-3][0-9][01][0-9]{8}", europe.greece, r"amka", r"αμκα", needs=True),
    _id("ie/pps", r"[0-9]{7}[A-W][A-IW]?", europe.ireland, r"pps(?:n|s)?(?: (?:no|number))?", needs=True),
    _id("br/cpf", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", world.brazil),
    _id("br/cpf-plain", r"[0-9]{11}", world.brazil, r"cpf", needs=True),
    _id("cl/rut", r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9Kk]", world.chile),
    _id("ar/cuil", r"(?:20|23|24|27)-[0-9]{8}-[0-9]", world.argentina),
    _id(
        "mx/curp",
        r"[A-Z]{4}[0-9]{6}[HMX][A-Z]{5}[0-9A-Z][0-9]",
        world.mexico,
        opening=_WORD_OPEN,
    ),
    _id(
        "in/aadhaar",
        r"[2-9][0-9]{3}[ \-]?[0-9]{4}[ \-]?[0-9]{4}",
        world.india,
        r"aadha?ar",
        r"uidai",
        r"uid",
        needs=True,
    ),
    _id("cn/resident", r"[1-9][0-9]{5}(?:19|20)[0-9]{9}[0-9Xx]", world.china),
    _id("kr/rrn", r"[0-9]{2}[01][0-9][0-3][0-9]-[0-9]{7}", world.korea),
    _id("sg/nric", r"[STFGM][0-9]{7}[A-Z]", world.singapore, opening=_WORD_OPEN),
    _id(
        "tr/tckn",
        r"[1-9][0-9]{10}",
        world.turkey,
        r"tckn",
        r"t\.?c\.? ?kimlik(?: no)?",
        r"kimlik(?: (?:no|numarasi))?",
        needs=True,
    ),
    _id(
        "za/id",
        r"[0-9]{13}",
        world.south_africa,
        r"(?:south african|rsa|sa) id(?: (?:no|number))?",
        needs=True,
    ),
    _id("il/tz", r"[0-9]{8}-?[0-9]", world.luhn_digits, r"teudat zehut", r"israeli id", r"ת\.?ז", needs=True),
    _id(
        "ca/sin",
        r"[1-79][0-9]{2}[ \-]?[0-9]{3}[ \-]?[0-9]{3}",
        world.luhn_digits,
        r"sin",
        r"social insurance(?: (?:no|number))?",
        needs=True,
    ),
    _id(
        "au/tfn",
        r"[0-9]{3} ?[0-9]{3} ?[0-9]{3}",
        world.australia,
        r"tfn",
        r"tax file(?: (?:no|number))?",
        needs=True,
    ),
    _id(
        "jp/my-number",
        r"[0-9]{4}[ \-]?[0-9]{4}[ \-]?[0-9]{4}",
        world.japan,
        r"my number",
        r"マイナンバー",
        r"個人番号",
        needs=True,
    ),
    _id("tw/id", r"[A-Z][1289][0-9]{8}", world.taiwan, r"身分證(?:字號)?", needs=True, opening=_WORD_OPEN),
)
