"""What the check of names makes of a model: whose texts are read, what takes the place of names, streams, failures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bartizan.errors import ResourceRejected
from bartizan.policy.checks import NameType, Pii
from sidecar.checks.base import CheckSet
from sidecar.checks.catalog import build_checks
from sidecar.checks.classifier.model_files import SETTING
from sidecar.checks.content import apply_edits, inspect_document
from sidecar.checks.detectors.pii_names import FAILED, Asks, NamesCheck
from sidecar.checks.names.messages import Answer, Name
from sidecar.checks.names.process import NamesProcess
from sidecar.checks.pipe import Pipe, span_check
from sidecar.checks.scope import Scope
from sidecar.checks.segments import LONGEST, complete
from sidecar.formats.base import DEFINITION, TextPart
from sidecar.formats.openai import OpenAIFormat
from sidecar.model.finding import Action
from sidecar.scan.judge import Judge
from tests.support.names import Made, made
from tests.support.streams import split

pytestmark = pytest.mark.usefixtures("patient_children")

ALL = get_args(NameType)
TEXT = "Anna Rivera (anna@example.org) of Acme left Bogota in May."


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("models")
        patch.setenv(SETTING, str(folder))
        files = made(folder)
        running = NamesProcess(files.config)  # kept, so that each check finds it there
        running.start()
        yield files


SAID = {"anna": "person", "rivera": "person", "person": "person", "bogota": "place"}


@dataclass(frozen=True, slots=True)
class Words:
    """A model that takes what stands between blanks for words, and those with a known name in them for names."""

    kinds: dict[str, str]

    def start(self) -> None: ...

    def find(self, segments: Sequence[str]) -> Answer:
        names = []
        for number, text in enumerate(segments):
            for word in re.finditer(r"[^\W_]\S*[^\W_]", text):
                kind = next((kind for name, kind in self.kinds.items() if name in word[0].lower()), None)
                if kind:
                    names.append(
                        Name(segment=number, start=word.start(), end=word.end(), kind=kind, score=1.0)
                    )
        return Answer(names=tuple(names), read=len(segments))


def checks(files: Made, types: tuple[Any, ...] = ("email", *ALL), **config: Any) -> CheckSet:
    return build_checks((Pii(types=types, names=config.pop("names", files.config), **config),))


def left(over: CheckSet, text: str) -> str:
    for check in over.texts:
        text = apply_edits(text, check.inspect(TextPart(location="x", text=text)).edits)
    return text


def found(over: CheckSet, part: TextPart) -> set[tuple[str, Action]]:
    return {(one.kind, one.action) for check in over.texts for one in check.inspect(part).findings}


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({}, "[PERSON] ([EMAIL]) of [ORGANISATION] left [PLACE] in [PERSON]."),
        ({"types": ("person",)}, "[PERSON] (anna@example.org) of Acme left Bogota in [PERSON]."),
        ({"types": ("place", "email")}, "Anna Rivera ([EMAIL]) of Acme left [PLACE] in May."),
        ({"replacement": "mask"}, "**** ****** (a***@example.org) of **** left ****** in ***."),
        (
            {"types": ALL, "allow": ("ACME", "may")},
            "[PERSON] (anna@example.org) of Acme left [PLACE] in May.",
        ),
        ({"types": ("person",), "allow_patterns": ("Anna.*",)}, TEXT.replace("May", "[PERSON]")),
        ({"action": "deny"}, TEXT),
    ],
)
def test_names_are_treated_like_other_personal_data(files: Made, config: dict[str, Any], wanted: str) -> None:
    assert left(checks(files, **config), TEXT) == wanted


def test_tokens_and_pseudonyms_of_names_are_an_exchanges_own(files: Made) -> None:
    scope = Scope(tenant="acme", keys={"file:a.key": b"a" * 32})
    token = checks(files, types=("person",), replacement="token").bound(scope)
    assert left(token, "Anna Rivera, Anna, Anna Rivera") == "<PERSON_1>, <PERSON_2>, <PERSON_1>"
    assert scope.tokens.said("<PERSON_1>") == "Anna Rivera"
    pseudonym = checks(files, types=("person",), replacement="pseudonym", key="file:a.key").bound(scope)
    once = left(pseudonym, "Anna Rivera, ANNA and Anna  Rivera")
    one, _, same = once.replace(" and ", ", ").split(", ")
    assert one == same
    assert one.startswith("[PERSON:")
    assert left(pseudonym, once) == once


WIDE = "".join(chr(ord(sign) + 0xFEE0) for sign in "AnnaRiveraBogota")
WIDE_TEXT = f"Is {WIDE[:4]} {WIDE[4:10]} (\u0661) in {WIDE[10:]}?"


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({}, "Is [PERSON] (\u0661) in [PLACE]?"),
        ({"allow": ("anna rivera",)}, f"Is {WIDE[:4]} {WIDE[4:10]} (\u0661) in [PLACE]?"),
        ({"replacement": "token"}, "Is <PERSON_1> (\u0661) in <PLACE_1>?"),
    ],
)
def test_names_in_full_width_letters_are_read_as_plain_ones(
    files: Made, config: dict[str, Any], wanted: str
) -> None:
    scope = Scope()
    over = checks(files, types=ALL, **config).bound(scope)
    assert left(over, WIDE_TEXT) == wanted
    assert scope.tokens.said("<PLACE_1>") == (WIDE[10:] if "replacement" in config else None)
    (check,) = checks(files, types=ALL, **config).bound(Scope()).texts
    pipe = Pipe([span_check(check)], "x", shadow=False)
    assert "".join(pipe.feed(sign, end=False) for sign in WIDE_TEXT) + pipe.feed("", end=True) == wanted


def test_names_of_members_and_definitions_of_tools_are_not_read(files: Made) -> None:
    over = checks(files, types=ALL)
    named = {("person", Action.REDACT)}
    for part, wanted in (
        (TextPart(location="x", text="Anna"), named),
        (TextPart(location="x", text="Anna", role="system"), named),
        (TextPart(location="x", text="Anna", fixed=True), set()),
        (TextPart(location="x", text='{"a": "Anna"}', json=True), set()),
        (TextPart(location="x", text="Anna", identifier=True), set()),
        (TextPart(location="x", text="Anna", role=DEFINITION), set()),
    ):
        assert found(over, part) == wanted, part


WORDS = st.sampled_from(
    [
        "Anna",
        "Rivera",
        "May",
        "Bogota",
        "Acme",
        "tea",
        "anna@example.org",
        ". ",
        "\n",
        ", ",
        "\uff21\uff4e\uff4e\uff41",
        "\uff0e ",
        "\uff01",
        '"',
        "\\",
        " ",
        "x" * 60,
    ]
)
LONG = st.lists(WORDS, max_size=160).map(" ".join)


@pytest.mark.parametrize("written", [False, True])
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=LONG, cuts=st.lists(st.integers(0, 10_000), max_size=12))
def test_a_stream_gets_what_the_whole_text_gets_however_it_is_split(
    files: Made, written: bool, text: str, cuts: list[int]
) -> None:
    text = text.replace('"', "").replace("\\", "") if written else text
    over = checks(files)
    whole = left(over, text)
    pipe = Pipe([span_check(check) for check in over.texts], "x", shadow=False, written=written)
    out, held = "", 0
    for piece in split(text, cuts):
        out += pipe.feed(piece, end=False)
        held = max(held, len(pipe._stages[-1].held))
    assert out + pipe.feed("", end=True) == whole
    assert held <= LONGEST


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({}, Action.DENY),
        ({"names": {"on_failure": "flag"}}, Action.FLAG),
        ({"action": "deny", "names": {"on_failure": "flag"}}, Action.FLAG),
        ({"action": "flag"}, Action.FLAG),
    ],
)
def test_what_the_model_did_not_read_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], wanted: Action
) -> None:
    monkeypatch.setenv(SETTING, str(tmp_path))
    files = made(tmp_path)
    names = files.using(threshold=0.51, **config.pop("names", {}))  # a process of its own
    over = checks(files, names=names, **config)
    over.start()
    check = over.texts[-1]
    assert isinstance(check, NamesCheck)
    running = check._asked._process._child._process  # type: ignore[attr-defined]
    (tmp_path / "names.onnx").unlink()
    running.kill()
    running.wait()
    part = TextPart(location="x", text=TEXT)
    assert (FAILED, wanted) in found(over, part)
    assert "Anna Rivera" in left(over, TEXT)
    pipe = Pipe([span_check(check)], "x", shadow=False)
    out = pipe.feed(TEXT, end=True)
    assert pipe.blocked is (wanted is Action.DENY)
    assert out == ("" if pipe.blocked else TEXT)
    assert {(one.kind, one.action) for one in pipe.findings} == {(FAILED, wanted)}


@dataclass(frozen=True, slots=True)
class Late:
    """A model that has time for one segment of each question."""

    asked: Asks

    def start(self) -> None: ...

    def find(self, segments: Sequence[str]) -> Answer:
        return self.asked.find(segments[:1])


def test_what_stands_before_an_unread_segment_is_redacted_and_nothing_after_it_flows(files: Made) -> None:
    config = Pii(types=("person",), names=files.config)
    check = NamesCheck(config, Late(NamesProcess(config.names)))
    text = "Anna likes tea. " * 40
    ((_, first),) = list(complete(text))[:1]
    pipe = Pipe([span_check(check)], "x", shadow=False)
    assert pipe.feed(text, end=True) == text[:first].replace("Anna", "[PERSON]")
    assert pipe.blocked
    assert [one.kind for one in pipe.findings][-1] == FAILED


@pytest.mark.parametrize("action", ["deny", "flag"])
def test_names_end_or_pass_a_stream(files: Made, action: Literal["deny", "flag"]) -> None:
    (check,) = checks(files, types=("person",), action=action).texts
    pipe = Pipe([span_check(check)], "x", shadow=False)
    text = "tea for Anna and Rivera"
    assert pipe.feed(text, end=True) == (text if action == "flag" else "tea for ")
    assert pipe.blocked is (action == "deny")


def test_a_scan_finds_names_where_they_stand(files: Made) -> None:
    judge = Judge([Pii(types=("email", "person"), names=files.config)], select=frozenset({"pii"}))
    verdict = judge.text("anna@example.org is Anna Rivera")
    assert [(hit.detector, hit.kind, hit.rule, hit.start, hit.end) for hit in verdict.hits] == [
        ("pii", "email", "pii/email", 0, 16),
        ("pii", "person", "pii/model/person", 20, 31),
    ]


def test_a_scan_without_the_policys_model_does_not_begin(files: Made) -> None:
    with pytest.raises(ResourceRejected, match="SHA-256"):
        Judge([Pii(types=("person",), names=files.using(sha256="0" * 64))])


def test_parts_of_a_message_that_stand_without_a_blank_make_no_name() -> None:
    """A request that holds none is not denied for a word that only their joining makes."""
    content = [{"type": "text", "text": text} for text in ("Notes from Tuesday", "Dear reader", "the river")]
    body = json.dumps({"messages": [{"role": "user", "content": content}]}).encode()
    document = OpenAIFormat().decode_request("/v1/chat/completions", "application/json", body)
    check = NamesCheck(Pii(types=ALL), Words({"tuesdaydear": "person", "readerthe": "place"}))
    assert not inspect_document(document, CheckSet(texts=(check,)), shadow=False).findings
