"""More forms of personal data: network and machine addresses, wallets, papers, dates of birth, places. A table.

Papers and dates of birth need a word that announces them; wallets carry their own check; streets are recognised in
simple forms of seven languages only.
"""

# ruff: noqa: RUF001 - quotation marks and primes as people write them
from __future__ import annotations

import re
from typing import Final

from sidecar.checks.detectors import pii_validity as validity
from sidecar.checks.detectors.pii_forms import Form, announced

_MONTHS: Final = (
    "jan feb mar apr may jun jul aug sep oct nov dec januar februar märz april mai juni juli august september oktober november dezember"
    " january february march june july october december janvier février mars avril juin juillet août septembre octobre novembre décembre"
    " enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre gennaio febbraio aprile maggio giugno luglio"
    " settembre ottobre dicembre januari februari maart mei augustus janeiro fevereiro março maio junho julho setembro outubro novembro dezembro"
)
_MONTH: Final = rf"(?:{'|'.join(sorted(set(_MONTHS.split()), key=len, reverse=True))})"


def _form(
    kind: str,
    rule: str,
    body: str,
    opening: str,
    longest: int,
    *,
    before: str = r"(?<![\w.\-])",
    after: str = r"(?![\w])",
    sign: str = "",
    ignore_case: bool = False,
    score: float = 1.0,
    **rest: object,
) -> Form:
    flags = re.IGNORECASE if ignore_case else 0
    return Form(
        kind=kind,
        rule=rule,
        pattern=re.compile(rf"{before}({body}){after}", flags),
        sign=sign or ("(?i)" if ignore_case else "") + body,
        opening=re.compile(opening, flags),
        longest=longest,
        score=score,
        **rest,  # type: ignore[arg-type]
    )


_WORD: Final = r"(?<![\w])[A-Za-z0-9][A-Za-z0-9\-]{0,%d}\Z"
_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_PAPER: Final = r"[A-Za-z]{0,3}[ \-]?[0-9][A-Za-z0-9]{1,3}[A-Za-z0-9\-]{2,14}"

PLACES: Final = (
    _form(
        "card",
        "card/announced",
        r"[0-9](?:[ \-]?[0-9]){11,18}",
        r"[0-9](?<![\w].)[0-9 \-]{0,38}\Z",
        40,
        sign=r"[0-9](?:[ \-]?[0-9]){11}",
        valid=validity.luhn_number,
        announced=announced(
            r"(?:credit |debit |bank )?cards?(?: (?:no|number|nr))?",
            r"cc",
            r"visa",
            r"mastercard",
            r"(?:kredit)?karte(?:nnummer)?",
            r"carte(?: (?:bleue|bancaire))?",
            r"tarjeta(?: de cr[ée]dito)?",
            r"carta di credito",
        ),
        score=0.9,
        in_run=True,
    ),
    _form(
        "ip",
        "ip/v4",
        rf"{_OCTET}(?:\.{_OCTET}){{3}}",
        r"[0-9](?<![\w].)[0-9.]{0,15}\Z",
        17,
        before=r"(?<![\w.\-/])(?<![Vv]ersion )",
        after=r"(?![\w\-]|\.[0-9])",
        valid=validity.network_address,
        score=0.9,
    ),
    _form(
        "ip",
        "ip/v6",
        r"(?:[0-9A-Fa-f]{1,4}:){2,7}(?::?[0-9A-Fa-f]{1,4}){1,6}|(?:[0-9A-Fa-f]{1,4}:){1,6}:(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,5})?",
        r"(?<![\w])[0-9A-Fa-f][0-9A-Fa-f:]{0,40}\Z",
        42,
        before=r"(?<![\w:.\-])",
        after=r"(?![\w:])",
        sign=r"[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:]{3,40}",
        valid=validity.network_address,
        score=0.9,
    ),
    _form(
        "mac",
        "mac/eui-48",
        r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5}",
        r"(?<![\w])[0-9A-Fa-f][0-9A-Fa-f:\-]{0,17}\Z",
        19,
        before=r"(?<![\w:\-])",
        after=r"(?![\w:\-])",
        valid=validity.machine_address,
        score=0.9,
    ),
    _form(
        "crypto",
        "crypto/base58",
        r"[13LMDAT9][1-9A-HJ-NP-Za-km-z]{25,34}",
        _WORD % 36,
        37,
        valid=validity.base58,
    ),
    _form(
        "crypto",
        "crypto/bech32",
        r"(?:bc|ltc|tb)1[02-9ac-hj-np-z]{8,87}|(?:BC|LTC|TB)1[02-9AC-HJ-NP-Z]{8,87}",
        _WORD % 92,
        93,
        valid=validity.bech32,
    ),
    _form("crypto", "crypto/ethereum", r"0x[0-9a-fA-F]{40}", _WORD % 43, 44, score=0.9),
    _form(
        "passport",
        "passport/announced",
        _PAPER,
        r"(?<![\w])[A-Za-z0-9]{1,3}(?:[ \-]?[A-Za-z0-9\-]{0,20})\Z",
        26,
        sign=r"(?i)pass(?:port|eport|aporte|aporto)|reisepass|paspoort|护照|旅券",
        announced=announced(
            r"passports?",
            r"passeport",
            r"pasaporte",
            r"passaporto",
            r"passaporte",
            r"reisepass(?:nummer|nr)?",
            r"paspoort(?:nummer)?",
            r"护照",
            r"旅券",
        ),
        valid=validity.paper,
        score=0.8,
    ),
    _form(
        "driving_licence",
        "driving-licence/announced",
        _PAPER,
        r"(?<![\w])[A-Za-z0-9]{1,3}(?:[ \-]?[A-Za-z0-9\-]{0,20})\Z",
        26,
        sign=r"(?i)licen[cs]e|f[üu]hrerschein|permis|licencia|patente|rijbewijs|carta de condu|\bdl\b",
        announced=announced(
            r"driv(?:er|ing)(?:['’]?s)? licen[cs]e",
            r"driver licen[cs]e",
            r"dl ?(?:no|number|#)",
            r"f[üu]hrerschein(?:nummer|nr)?",
            r"permis de conduire",
            r"licencia de conducir",
            r"patente di guida",
            r"rijbewijs(?:nummer)?",
            r"carta de condu[çc][ãa]o",
        ),
        valid=validity.paper,
        score=0.8,
    ),
    _form(
        "birth_date",
        "birth-date/announced",
        rf"[0-9]{{4}}[\-/.][0-9]{{1,2}}[\-/.][0-9]{{1,2}}|[0-9]{{1,2}}[\-/. ]{{1,2}}[0-9]{{1,2}}[\-/. ]{{1,2}}(?:[0-9]{{4}}|[0-9]{{2}})"
        rf"|[0-9]{{1,2}}(?:st|nd|rd|th|\.|er)? (?:of |de )?{_MONTH}\.?,? (?:de )?[0-9]{{4}}|{_MONTH}\.? [0-9]{{1,2}}(?:st|nd|rd|th)?,? [0-9]{{4}}",
        r"(?<![\w])(?:[0-9]|[A-Za-z])[0-9A-Za-zà-ÿ.,/\- ]{0,30}\Z",
        32,
        sign=r"(?i)born|birth|b[-]?day|\bdob\b|geboren|geburt|n[ée]e? le|naissance|nacid[oa]|nacimiento|nat[oa] il|nascita|geboorte|nascid[oa]|nascimento",
        ignore_case=True,
        valid=validity.birthday,
        announced=announced(
            r"born(?: on)?",
            r"birth ?(?:date|day)",
            r"dates? of birth",
            r"b-?day",
            r"dob",
            r"d\.o\.b",
            r"geboren(?: am)?",
            r"geburts(?:datum|tag)",
            r"n[ée]e? le",
            r"date de naissance",
            r"nacid[oa](?: el)?",
            r"fecha de nacimiento",
            r"nat[oa] il",
            r"data di nascita",
            r"geboortedatum",
            r"nascid[oa](?: em)?",
            r"data de nascimento",
            gap=16,
        ),
        score=0.9,
    ),
    _form(
        "address",
        "address/number-first",
        r"[0-9]{1,5}[A-Za-z]?,? (?:(?:N|S|E|W|NE|NW|SE|SW|North|South|East|West)\.? )?(?:(?:[A-Z][\w'’.\-]{0,24}|[0-9]{1,3}(?:st|nd|rd|th)) ){1,4}"
        r"(?:Street|St(?!\.? [A-Z])|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Way|Place|Pl|Square|Sq|Terrace|Highway|Hwy|Parkway|Pkwy|Close|Crescent|Circle|Cir|Trail)"
        r"\.?(?:,? (?:Apt|Apartment|Suite|Ste|Unit|Flat|#)\.? ?#?[0-9]{1,5}[A-Za-z]?)?",
        r"[0-9](?<![\w].)[\w ,.'’#\-]{0,150}\Z",
        152,
        sign=r"[0-9]{1,5}[A-Za-z]?,? [0-9A-Z]",
        before=r"(?<![\w.\-$€£])",
        score=0.8,
    ),
    _form(
        "address",
        "address/french",
        r"[0-9]{1,4}(?: ?(?:bis|ter))?,? (?:rue|avenue|boulevard|place|chemin|impasse|allée|quai|route|square)"
        r"(?:(?: (?:de|du|des|la|le|les|l['’]|d['’]))+ ?[\w’'\-]{2,24}| [A-ZÀ-Þ][\w'’\-]{1,24})(?: [A-ZÀ-Þ][\w'’\-]{1,24}){0,3}",
        r"[0-9](?<![\w].)[\w ,.'’#\-]{0,150}\Z",
        152,
        sign=r"[0-9](?: ?(?:bis|ter))?,? (?:rue|avenue|boulevard|place|chemin|impasse|allée|quai|route|square)\b",
        score=0.8,
    ),
    _form(
        "address",
        "address/german",
        r"[A-ZÄÖÜ][\wäöüß.\-]{1,30}(?:straße|strasse|str\.|weg|gasse|platz|allee|ufer)\.? [0-9]{1,4} ?[a-z]?",
        r"(?<![\w])[A-ZÄÖÜ][\wäöüß.\-]{0,40}(?: [0-9]{0,4} ?[a-z]?)?\Z",
        50,
        sign=r"(?:straße|strasse|str\.|weg|gasse|platz|allee|ufer)\.? [0-9]",
        score=0.8,
    ),
    _form(
        "address",
        "address/romance",
        r"(?:Calle|Avenida|Av\.|Paseo|Plaza|Via|Viale|Piazza|Corso|Largo|Rua|Travessa|Praça|Alameda)(?: (?:de|del|della|dei|delle|di|da|do|dos|das|la|las|los|el))*"
        r" [A-ZÀ-Þ][\w'’.\-]{1,24}(?: (?:de |del |la |e |y |di |da |do )?[A-ZÀ-Þ][\w'’.\-]{1,24}){0,3},? (?:n[.ºo°]{1,2} ?)?[0-9]{1,5}[A-Za-z]?",
        r"(?<![\w])[A-Z][\wÀ-ÿ.'’º° ,\-]{0,150}\Z",
        152,
        sign=r"(?:Calle|Avenida|Av\.|Paseo|Plaza|Via|Viale|Piazza|Corso|Largo|Rua|Travessa|Praça|Alameda) ",
        score=0.8,
    ),
    _form(
        "address",
        "address/post-box",
        r"P\.? ?O\.? ?Box [0-9]{1,6}|Postfach [0-9 ]{1,8}[0-9]",
        r"(?<![\w])P[\w. ]{0,22}\Z",
        24,
        score=0.8,
    ),
    _form(
        "coordinates",
        "coordinates/decimal",
        r"-?[0-9]{1,2}\.[0-9]{4,12}(?:°? ?[NS])?[, ] {0,2}-?[0-9]{1,3}\.[0-9]{4,12}(?:°? ?[EW])?",
        r"(?<![\w])-?[0-9]{1,2}[0-9.,°NSEW \-]{0,40}\Z|(?<![\w])-\Z",
        44,
        before=r"(?<![\w.,])",
        after=r"(?![\w.]|,[0-9])",
        valid=validity.latitude_and_longitude,
        score=0.9,
    ),
    _form(
        "coordinates",
        "coordinates/degrees",
        r"[0-9]{1,2}° ?[0-9]{1,2}['′’] ?(?:[0-9]{1,2}(?:\.[0-9]{1,6})?(?:[\"″”]|'') ?)?[NS],? ?[0-9]{1,3}° ?[0-9]{1,2}['′’] ?(?:[0-9]{1,2}(?:\.[0-9]{1,6})?(?:[\"″”]|'') ?)?[EWO]",
        r"[0-9](?<![\w].)[0-9]?[0-9°'′’\"″”.,NS ]{0,50}\Z",
        54,
        sign=r"[0-9]{1,2}° ?[0-9]{1,2}",
        score=0.9,
    ),
)
