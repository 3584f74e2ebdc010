"""Several documents in one text are told apart as YAML does, and keep their lines."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bartizan.policy.texts import texts_of


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", [""]),
        ("a: 1", ["a: 1"]),
        ("---\na: 1\n---\n", ["---\na: 1\n---\n"]),
        ('{"a": 1}', ['{"a": 1}']),
        ("a: 1\n---\nb: 2\n", ["a: 1\n", "\n---\nb: 2\n"]),
        ("---\r\na: 1\r\n--- # next\r\nb: 2", ["---\r\na: 1\r\n", "\n\n--- # next\r\nb: 2"]),
        ("# head\n---\na: 1\n---\n# none\n\n...\n---\nb: 2", ["\n---\na: 1\n", "\n" * 7 + "---\nb: 2"]),
        ("--- {a: 1}\n--- {b: 2}", ["--- {a: 1}\n", "\n--- {b: 2}"]),
        ("a: |\n  ---\n  x\n---b: 1\n---\nb: 2", ["a: |\n  ---\n  x\n---b: 1\n", "\n\n\n\n---\nb: 2"]),
    ],
)
def test_a_text_falls_apart_where_documents_begin(text: str, parts: list[str]) -> None:
    assert list(texts_of(text)) == parts


@given(st.lists(st.sampled_from(["a: 1", "- x", "'q'", "|\n  ---\n  t", "# c", ""]), min_size=2, max_size=6))
def test_the_parts_say_what_yaml_reads_of_the_whole(documents: list[str]) -> None:
    text = "".join(f"---\n{document}\n" for document in documents)
    wanted = [each for each in yaml.safe_load_all(text) if each is not None]
    parts = list(texts_of(text))
    if len(wanted) > 1:
        assert [yaml.safe_load(part) for part in parts] == wanted
    else:
        assert parts == [text]
