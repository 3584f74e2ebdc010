"""What the documents tell a reader to type exists: commands, options, settings, and policies that are valid."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from bartizan.cli.root import cli
from bartizan.errors import PolicyInvalid, Problem
from bartizan.policy.validate import read_mesh, read_policy, validate_document

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks/README.md",
    *sorted(ROOT.glob("docs/*.md")),
]
ROUTE = {"path": "/predict", "method": "POST", "inputText": ["$.text"], "outputScores": ["$.scores"]}
SPEC: dict[str, Any] = {
    "selector": {"matchLabels": {"app": "x"}},
    "listener": {"tls": {"cert": "file:tls.crt", "key": "file:tls.key"}},
    "model": {"name": "x", "protocol": "openai"},
    "tenants": ["acme"],
    "authn": {"apiKeys": {"set": "x"}},
}

page_by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE)


def typed(page: Path) -> Iterator[list[str]]:
    """Words of each `bartizan …`: in blocks for the shell, and between backticks in the text."""
    lines = [line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    spans = re.findall(r"`(bartizan [^`\n]+)`", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL))
    for text in (*lines, *spans):
        lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
        for start, word in enumerate(words):
            if word in {"bartizan", ".venv/bin/bartizan", "/opt/bartizan/.venv/bin/bartizan"}:
                rest = words[start + 1 :]
                yield rest[
                    : next((at for at, one in enumerate(rest) if set(one) <= set("|&;<>()")), len(rest))
                ]


def mistake(words: list[str]) -> str:
    """What is wrong with a command, "" for nothing. An ellipsis stands for any words."""
    command: click.Command = cli
    arguments = []
    known = {option for parameter in cli.params for option in parameter.opts} | {"--help"}
    iterator = iter(words)
    for word in iterator:
        if word == "…":
            return ""
        if isinstance(command, click.Group) and not word.startswith("-"):
            below = command.get_command(click.Context(command), word)
            if below is None:
                return f"no command {word}"
            command = below
            known |= {option for parameter in command.params for option in parameter.opts}
        elif word.startswith("-") and word != "-":
            if word.partition("=")[0] not in known:
                return f"no option {word}"
            if takes_value(command, word):
                next(iterator, None)
        else:
            arguments.append(word)
    most = sum(max(p.nargs, 0) or 99 for p in command.params if isinstance(p, click.Argument))
    return f"{len(arguments)} arguments, at most {most}" if len(arguments) > most else ""


def takes_value(command: click.Command, option: str) -> bool:
    return any(
        option in parameter.opts and not parameter.is_flag
        for parameter in (*cli.params, *command.params)
        if isinstance(parameter, click.Option)
    )


@page_by_page
def test_every_command_that_is_shown_can_be_typed(page: Path) -> None:
    wrong = [(" ".join(words), why) for words in typed(page) if (why := mistake(words))]
    assert not wrong


def test_a_command_that_does_not_exist_would_be_noticed() -> None:
    assert [
        mistake(shlex.split(text)) for text in ("polcy list", "status --wat", "status a b", "keys … x")
    ] == [
        "no command polcy",
        "no option --wat",
        "2 arguments, at most 1",
        "",
    ]
    assert sum(len(list(typed(page))) for page in PAGES) > 60


@page_by_page
def test_every_setting_that_is_named_is_in_the_list_of_settings(page: Path) -> None:
    listed = set(re.findall(r"`(BARTIZAN_[A-Z_]+)`", (ROOT / "docs/settings.md").read_text()))
    for_tests = {"BARTIZAN_FUZZ_CASES"}
    assert set(re.findall(r"\b(BARTIZAN_[A-Z_]*[A-Z])\b", page.read_text())) <= listed | for_tests


@page_by_page
def test_every_policy_that_is_shown_is_valid(page: Path) -> None:
    for text in blocks(page, "yaml"):
        document = yaml.safe_load(text)
        if isinstance(document, dict) and "kind" in document:
            written = read_policy(text)
            if written.is_mesh:
                read_mesh(written)
            else:
                validate_document(written.document)
            continue
        part = {"input": document} if isinstance(document, list) else document
        if not set(part) <= {*SPEC, "input", "output", "waf", "limits", "routes", "telemetry"}:
            continue  # a definition of a secret, a configuration
        whole = {"apiVersion": "bartizan.dev/v1alpha1", "kind": "ModelPolicy", "metadata": {"name": "x"}}
        spec = {**SPEC, **part}
        if "extractionWatch" in text:
            spec |= {"model": {"name": "x", "protocol": "json_fields"}, "routes": [ROUTE]}
        # hashes are shown shortened
        assert all("ha256" in problem.path for problem in problems_of({**whole, "spec": spec})), text


def test_the_policy_of_the_first_page_is_the_one_that_its_command_names() -> None:
    (shown,) = blocks(ROOT / "README.md", "yaml")
    assert yaml.safe_load(shown) == yaml.safe_load((ROOT / "examples/quickstart/policy.yaml").read_text())


def problems_of(document: dict[str, Any]) -> tuple[Problem, ...]:
    try:
        validate_document(document)
    except PolicyInvalid as refused:
        return refused.problems
    return ()
