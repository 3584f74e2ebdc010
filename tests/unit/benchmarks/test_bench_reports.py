"""What the benchmark reads and writes: wrk's report, its table, its picture, its history, a profile's costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import generators, report, rounds
from benchmarks.__main__ import peer
from benchmarks.cases import CASES
from benchmarks.load import complete
from benchmarks.plot import plot
from benchmarks.profile import table

WRK = """Running 2s test @ http://127.0.0.1:8080
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     3.36ms    1.04ms  21.90ms   93.08%
    Req/Sec     9.60k     0.91k   10.93k    85.00%
  Latency Distribution
     50%    3.21ms
     75%    3.50ms
     90%  980.00us
     99%    1.02s
  19118 requests in 2.01s, 10.25MB read
{more}Requests/sec:   9511.44
Transfer/sec:      5.10MB
"""


def test_wrk_s_report_is_read() -> None:
    result = generators.read(WRK.format(more=""))
    assert result.statuses == {"200": 19118}
    assert result.rps == pytest.approx(19118 / 2.01)
    assert (result.p50, result.p99) == (3.21, 1020.0)


def test_wrong_answers_and_broken_connections_are_seen_in_wrk_s_report() -> None:
    more = "  Socket errors: connect 1, read 2, write 0, timeout 3\n  Non-2xx or 3xx responses: 118\n"
    assert generators.read(WRK.format(more=more)).statuses == {"200": 19000, "not 2xx": 118, "0": 6}


def test_what_wrk_did_not_measure_is_no_result() -> None:
    with pytest.raises(generators.GeneratorFailed, match="unable to connect"):
        generators.read("unable to connect to 127.0.0.1:1 Connection refused")


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (b"", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", True),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n", False),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", True),
    ],
)
def test_a_generator_knows_when_an_answer_is_whole(answer: bytes, whole: bool) -> None:
    assert complete(bytearray(answer)) is whole


@pytest.mark.parametrize(
    ("text", "front", "body", "command"),
    [
        ("a=./serve --x {port}", "grpc", False, "./serve --x {port}"),
        ("a=http:./serve", "http", False, "./serve"),
        ("a=grpc+body:./serve", "grpc", True, "./serve"),
        ("a=proxy:./serve", "proxy", False, "./serve"),
    ],
)
def test_a_peer_is_named_and_said_how_to_start(text: str, front: str, body: bool, command: str) -> None:
    made = peer(text)
    assert (made.path, made.front, made.body, made.command) == ("peer_a", front, body, command)


def test_what_is_no_peer_is_refused() -> None:
    with pytest.raises(ValueError, match="NAME=COMMAND"):
        peer("./serve")


def made() -> dict[str, Any]:
    row: dict[str, Any] = {
        "rps": 1000.0,
        "ratio": 0.5,
        "python_cpu_us": 50.0,
        "envoy_cpu_us": 100.0,
        "base": "no_filter",
    }
    row |= {"added_p50_ms": 0.2, "added_p99_ms": 0.9}
    rows: list[dict[str, Any]] = [
        {"path": "no_filter", **row, "ratio": 1.0, "added_p50_ms": 0.0},
        {"path": "ext_authz", **row},
        {"path": "native_jwt", "skipped": "<no filter>"},
        {"path": "push_1", "push_p50_ms": 74.0},
    ]
    return report.document(rows, "quick")


def test_the_picture_is_valid_svg_with_every_measured_path() -> None:
    root = ElementTree.fromstring(plot(made()))  # noqa: S314 - our own text
    said = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert {"no_filter", "ext_authz"} <= set(said)
    assert "native_jwt" not in said


def test_a_history_row_has_a_cell_for_each_column_and_nothing_where_nothing_was_measured() -> None:
    row = report.history_row(made(), "quiet machine")
    (header,) = [line for line in report.README.read_text().splitlines() if line.startswith("| date ")]
    assert row.count("|") == header.count("|")
    assert "0.5 / 50 / 0.2 / 0.9" in row
    assert "|  |" in row
    assert "74" in row


def test_the_history_can_be_added_to() -> None:
    assert report.README.read_text().count("<!-- history ends -->") == 1


def test_every_path_has_its_base_and_a_name_of_its_own() -> None:
    paths = [case.path for case in CASES]
    assert len(set(paths)) == len(paths)
    assert {case.base for case in CASES} <= set(paths)
    assert {
        "no_filter",
        "native_only",
        "native_jwt",
        "ext_authz",
        "ext_authz_ngh2",
        "ext_authz_grpcio",
    } <= set(paths)
    assert {"ext_proc_request", "ext_proc_request_response", "sse_50", "prompt_220k"} <= set(paths)


def test_a_case_of_which_no_round_counts_is_skipped_and_says_why() -> None:
    one, two = CASES[:2]
    medians = {one.path: {"rps": 10.0, "p50_ms": 1.0, "p99_ms": 1.0, "first_p50_ms": 1.0, "open_rate": 5.0}}
    medians[one.path] |= {"open_p50_ms": 1.0, "open_p99_ms": 1.0}
    failed = {one.path: ["noise"], two.path: ["noise", "20 of 29 were 503"]}
    measured, lost = rounds.rows_of((one, two), medians, {}, failed)
    assert (measured["rps"], measured["failed"]) == (10.0, ["noise"])
    assert (lost["skipped"], lost["failed"]) == ("20 of 29 were 503", ["noise", "20 of 29 were 503"])


def test_a_profile_s_costs_are_shares_of_the_worker_s_cpu() -> None:
    stacks = (
        "main (/a/sidecar/worker.py:1);answer (/a/sidecar/wire/ext_authz.py:5);inc (/b/site-packages/values.py:3) 30\n"
        "main (/a/sidecar/worker.py:1);answer (/a/sidecar/wire/ext_authz.py:9) 70\n"
    )
    lines = table("path", stacks, 200.0).splitlines()
    assert any("140.0 | 70% | `sidecar/wire/ext_authz.py answer`" in line for line in lines)
    assert any("200.0 | 100% | `sidecar/worker.py main`" in line for line in lines)
    assert any("60.0 | 30% | `values.py inc`" in line for line in lines)


@pytest.mark.parametrize("program", ["benchmarks", "benchmarks.profile"])
def test_a_word_that_is_in_no_path_measures_nothing_and_leaves_the_last_report_alone(
    program: str, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    command = [sys.executable, "-m", program, "--only", "ext_auhtz", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no path contains 'ext_auhtz'" in done.stderr
    assert "ext_authz_ngh2" in done.stderr
    assert not out.exists()
