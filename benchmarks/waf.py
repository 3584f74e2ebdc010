"""Measures the web application firewall's rules: `python -m benchmarks.waf --crs-tests DIR --attacks F --benign F`.

--crs-tests: the regression tests of the OWASP Core Rule Set (its folder tests/regression/tests), forms of 3.3 and 4.
--attacks, --benign: JSON lines {"text": …}; each text is put into a field that is no prompt, as `promptFields: scan` shows
prompts to the rules.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sidecar.checks.waf import ruleset
from sidecar.checks.waf.check import scalar_question
from sidecar.checks.waf.child import Engine
from sidecar.checks.waf.messages import Configure, Question
from sidecar.model.request import RequestHead

_LOGGED = re.compile(r'id[ \\]*"(\d{6})')


@dataclass(frozen=True, slots=True)
class Case:
    """One stage of a regression test: a request, the rules that must match, and those that must not."""

    name: str
    question: Question
    expected: frozenset[int]
    forbidden: frozenset[int]


def regression_cases(folder: Path) -> Iterator[Case]:
    """Every stage below a folder that says which rule it is about. Responses and raw requests are left out."""
    for file in sorted(folder.rglob("*.y*ml")):
        document = yaml.safe_load(file.read_text("utf-8", "replace")) or {}
        for test in document.get("tests", ()):
            for number, wrapped in enumerate(test.get("stages", ())):
                stage = wrapped.get("stage", wrapped)
                given, output = stage.get("input", {}), stage.get("output", {})
                log = output.get("log", {})
                expected = _ids(output.get("log_contains"), log.get("expect_ids"), log.get("match_regex"))
                forbidden = _ids(
                    output.get("no_log_contains"), log.get("no_expect_ids"), log.get("no_match_regex")
                )
                if (expected or forbidden) and "encoded_request" not in given:
                    name = f"{file.stem}:{test.get('test_title', test.get('test_id', ''))}:{number}"
                    yield Case(name, _question(given), expected, forbidden)


def _ids(*said: Any) -> frozenset[int]:
    found: set[int] = set()
    for one in said:
        if isinstance(one, list):
            found.update(int(value) for value in one)
        elif isinstance(one, str):
            found.update(int(number) for number in _LOGGED.findall(one))
    return frozenset(found)


def _question(given: dict[str, Any]) -> Question:
    data = given.get("data") or ""
    body = "\r\n".join(map(str, data)) if isinstance(data, list) else str(data)
    headers = {str(name).lower(): str(value) for name, value in (given.get("headers") or {}).items()}
    as_written = given.get("stop_magic") or given.get("autocomplete_headers") is False
    if body and not as_written:
        headers.setdefault("content-type", "application/x-www-form-urlencoded")
        headers.setdefault("content-length", str(len(body.encode())))
    return Question(
        method=str(given.get("method", "GET")),
        target=str(given.get("uri", "/")),
        headers=tuple(headers.items()),
        body=body.encode(),
    )


def replay(engine: Engine, cases: Iterator[Case]) -> tuple[int, int, list[str]]:
    """How many passed, of how many, and the names of the others with what went wrong."""
    failed: list[str] = []
    total = 0
    for case in cases:
        total += 1
        hits = {hit.rule for hit in engine.judge(case.question).hits}
        if missed := case.expected - hits:
            failed.append(f"{case.name}: no {', '.join(map(str, sorted(missed)))}")
        elif false := case.forbidden & hits:
            failed.append(f"{case.name}: {', '.join(map(str, sorted(false)))}, which must not match")
    return total - len(failed), total, failed


def share(engine: Engine, texts: list[str]) -> tuple[int, float]:
    """How many texts reach the threshold, and milliseconds for one at the median."""
    head = RequestHead(
        stream_id="",
        method="POST",
        path="/predict",
        headers={"host": "model.example", "user-agent": "client/1", "accept": "*/*"},
        source_address="",
        target="/predict",
    )
    taken: list[float] = []
    exceeded = 0
    for text in texts:
        question = scalar_question(head, [("text", text)])
        started = time.perf_counter()
        exceeded += engine.judge(question).exceeded
        taken.append((time.perf_counter() - started) * 1000)
    return exceeded, sorted(taken)[len(taken) // 2] if taken else 0.0


def main() -> None:
    """Print one line for each thing measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--crs-tests", type=Path)
    parser.add_argument("--attacks", type=Path)
    parser.add_argument("--benign", type=Path)
    parser.add_argument("--most", type=int, default=1000, help="lines of each file")
    parser.add_argument("--paranoia", type=int, default=1)
    given = parser.parse_args()
    folder = ruleset.find()
    if folder is None:
        raise SystemExit(f"no rules: install Debian's modsecurity-crs or set {ruleset.SETTING}")
    if given.crs_tests:
        # every rule of every level shows whether it matches
        engine = Engine(Configure(folder=str(folder), paranoia=4))
        passed, total, failed = replay(engine, regression_cases(given.crs_tests))
        if not total:
            raise SystemExit(
                f"{given.crs_tests} holds no regression tests: give the rule set's tests/regression/tests"
            )
        print(f"CRS regression tests: {passed} of {total} ({passed / total:.1%})")
        print("\n".join(f"  failed: {name}" for name in failed))
    engine = Engine(Configure(folder=str(folder), paranoia=given.paranoia))
    for name in ("attacks", "benign"):
        file: Path | None = getattr(given, name)
        if file is not None:
            with file.open(encoding="utf-8") as opened:
                lines = [json.loads(line) for line in opened if line.strip()]
            wanted = 1 if name == "attacks" else 0
            texts = [line["text"] for line in lines if line.get("label", wanted) == wanted]
            step = max(1, len(texts) // given.most)
            texts = [text for text in texts[::step] if len(text) <= 4000][: given.most]
            exceeded, median = share(engine, texts)
            print(
                f"{name}, paranoia {given.paranoia}: {exceeded} of {len(texts)} reach the threshold, {median:.1f} ms"
            )


if __name__ == "__main__":
    main()
