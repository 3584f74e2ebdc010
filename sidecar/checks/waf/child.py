"""The process in which libmodsecurity runs: `python -m sidecar.checks.waf.child`, started by firewall.py.

A process of its own, because the library keeps Python's lock while its regular expressions run, and because C++ that
reads hostile input shall not share memory with keys. It ends when its standard input does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sidecar.checks.child.messages import Unfit, serve
from sidecar.checks.waf import ruleset
from sidecar.checks.waf.messages import Answer, Configure, Hit, Question

_LEVEL = "paranoia-level/"
_NO_VERDICT = range(900_000, 911_000)
"""Initialisation of the rule set."""


class Engine:
    """libmodsecurity with one set of rules."""

    def __init__(self, configure: Configure) -> None:
        """Raises ImportError without the library, ValueError for rules that it can't read."""
        import libmodsecurity

        self._library: Any = libmodsecurity
        self._engine = libmodsecurity.ModSecurity()
        self._engine.set_rule_message_callback(lambda _: None)
        self._rules = libmodsecurity.RulesSet()
        self.loaded = self._load(self._rules.load(ruleset.setup(configure.paranoia)))
        for file in ruleset.files(Path(configure.folder)):
            self.loaded += self._load(self._rules.load_from_uri(str(file)))

    def _load(self, count: int) -> int:
        if count < 0:
            raise ValueError(self._rules.get_parser_error()[:300])
        return count

    def judge(self, question: Question) -> Answer:
        transaction = self._library.Transaction(self._engine, self._rules)
        # One address for all: the library keeps state by address, and ours is bounded elsewhere.
        transaction.process_connection("127.0.0.1", 1, "127.0.0.1", 80)
        transaction.process_uri(question.target, question.method, "1.1")
        for name, value in question.headers:
            transaction.add_request_header(name, value)
        transaction.process_request_headers()
        if question.body:
            transaction.append_request_body(question.body)
        transaction.process_request_body()
        messages = transaction.get_rule_messages()
        hits = [
            Hit(rule=message.rule_id, level=_level(message.tags))
            for message in messages
            if message.rule_id not in _NO_VERDICT and message.rule_id < 949_000
        ]
        return Answer(
            hits=tuple(dict.fromkeys(hits)),
            exceeded=any(message.rule_id in ruleset.EVALUATION for message in messages),
        )


def _level(tags: list[str]) -> int:
    found = [tag.removeprefix(_LEVEL) for tag in tags if tag.startswith(_LEVEL)]
    return int(found[0]) if found and found[0].isdecimal() else 1


def build(configure: Configure) -> Callable[[Question], Answer]:
    """Raises Unfit without the library or with rules that it can't read."""
    try:
        return Engine(configure).judge
    except ImportError:
        raise Unfit("libmodsecurity is not installed: pip install 'bartizan[waf]'") from None
    except ValueError as error:
        raise Unfit(f"the rules can't be read: {error}") from error


if __name__ == "__main__":
    serve(Configure, Question, build)
