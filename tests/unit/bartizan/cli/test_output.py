"""Tables on a terminal: what people copy stays in one piece, also where there is little room."""

from __future__ import annotations

import sys

import pytest

from bartizan.cli.output import Output

ID = "c88f7fce756a06b4f25ac8de1037b44f"


def test_ids_are_whole_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    row = ("2026-11-30 18:30:03+00:00", ID, "a long sentence that has to be folded somewhere")
    Output("table").rows(("time", "decision", "why"), [row], data=None, whole=2)
    assert f"{row[0]}  {ID}" in capsys.readouterr().out


def test_an_empty_table_says_so_beside_the_results(capsys: pytest.CaptureFixture[str]) -> None:
    Output("table").rows(("time",), [], data=[])
    assert capsys.readouterr() == ("", "nothing found\n")
    Output("json").rows(("time",), [], data=[])
    assert capsys.readouterr() == ("[]\n", "")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\x9b2J\x7f\x07", "\\x9b2J\\x7f\\x07"),
        ("over\rwritten", "over\\rwritten"),
        ("\u202eturned", "\\u202eturned"),
        ("Grüße \\ 日本 ✓", "Grüße \\ 日本 ✓"),
    ],
)
def test_what_others_wrote_does_not_steer_the_terminal(
    written: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Output("table").rows(("reason",), [(written,)], data=None)
    Output("table").text(written, data=None)
    assert [line.rstrip(" ") for line in capsys.readouterr().out.split("\n")] == ["reason", shown, shown, ""]
