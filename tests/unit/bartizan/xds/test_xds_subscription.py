"""Rules of the state-of-the-world protocol, as a table of single steps."""

from __future__ import annotations

from itertools import count

import pytest

from bartizan.errors import ProtocolViolation
from bartizan.policy.names import (
    TYPE_BUNDLE,
    TYPE_CLUSTER,
    TYPE_KEY_SET,
    TYPE_LISTENER,
    TYPE_ROUTES,
    TYPE_SECRET,
)
from bartizan.xds.subscription import (
    MAX_NAMES,
    MAX_REASON,
    MAX_TYPES,
    Acked,
    Nacked,
    Request,
    Response,
    Stale,
    Stream,
    Subscribed,
)


def stream() -> Stream[int]:
    numbers = count(1)
    return Stream(lambda: f"n{next(numbers)}")


def ask(
    subject: Stream[int],
    type_url: str,
    *names: str,
    version: str = "",
    nonce: str = "",
    error: str | None = None,
) -> list[object]:
    """Sends a request and allows whatever it wants; returns the events that are not Subscribed."""
    rest: list[object] = []
    for event in subject.receive(
        Request(type_url=type_url, names=names, version=version, nonce=nonce, error=error)
    ):
        if isinstance(event, Subscribed):
            subject.allow(type_url, event.names)
        else:
            rest.append(event)
    return rest


def items(response: Response[int] | None) -> dict[str, int] | None:
    return None if response is None else dict(response.items)


@pytest.mark.parametrize(
    ("type_url", "names", "expected"),
    [
        (TYPE_CLUSTER, (), {"a": 1, "b": 2}),
        (TYPE_LISTENER, (), {"a": 1, "b": 2}),
        (TYPE_BUNDLE, ("*",), {"a": 1, "b": 2}),
        (TYPE_SECRET, ("*",), {"a": 1, "b": 2}),
        (TYPE_LISTENER, ("a",), {"a": 1}),
        (TYPE_ROUTES, ("b", "missing"), {"b": 2}),
        (TYPE_LISTENER, ("missing",), {}),  # full state: absence is an answer
        (TYPE_ROUTES, ("missing",), None),  # otherwise the subscriber waits
        (TYPE_ROUTES, (), None),
        (TYPE_BUNDLE, (), None),
    ],
)
def test_a_first_request_gets_what_it_names(
    type_url: str, names: tuple[str, ...], expected: dict[str, int] | None
) -> None:
    subject = stream()
    ask(subject, type_url, *names)
    assert items(subject.due(type_url, "1", {"a": 1, "b": 2})) == expected


def test_a_known_empty_set_is_announced_to_a_full_state_subscriber() -> None:
    subject = stream()
    ask(subject, TYPE_BUNDLE, "*")
    assert items(subject.due(TYPE_BUNDLE, "0", {})) == {}
    ask(subject, TYPE_BUNDLE, "*", nonce="n1")
    assert subject.due(TYPE_BUNDLE, "0", {}) is None


def test_a_type_nobody_asked_for_is_never_sent() -> None:
    assert stream().due(TYPE_CLUSTER, "1", {"a": 1}) is None


def test_only_one_response_of_a_type_is_unanswered_and_the_newest_follows() -> None:
    subject = stream()
    ask(subject, TYPE_CLUSTER)
    assert subject.due(TYPE_CLUSTER, "1", {"a": 1}) is not None
    assert subject.due(TYPE_CLUSTER, "2", {"a": 2}) is None
    assert subject.due(TYPE_CLUSTER, "3", {"a": 3}) is None
    assert ask(subject, TYPE_CLUSTER, version="1", nonce="n1") == [
        Acked(type_url=TYPE_CLUSTER, version="1", nonce="n1")
    ]
    assert items(subject.due(TYPE_CLUSTER, "3", {"a": 3})) == {"a": 3}


def test_a_refused_version_is_not_sent_again_until_something_changed() -> None:
    subject = stream()
    ask(subject, TYPE_CLUSTER)
    subject.due(TYPE_CLUSTER, "1", {"a": 1})
    assert ask(subject, TYPE_CLUSTER, nonce="n1", error="x" * 9999) == [
        Nacked(type_url=TYPE_CLUSTER, version="1", reason="x" * MAX_REASON)
    ]
    assert subject.due(TYPE_CLUSTER, "1", {"a": 1}) is None
    assert subject.due(TYPE_CLUSTER, "2", {"a": 1}) is None
    assert items(subject.due(TYPE_CLUSTER, "3", {"a": 3})) == {"a": 3}


def test_a_request_with_the_nonce_before_answers_nothing() -> None:
    subject = stream()
    ask(subject, TYPE_SECRET, "a")
    subject.due(TYPE_SECRET, "1", {"a": 1, "b": 1})
    ask(subject, TYPE_SECRET, "a", nonce="n1")
    subject.due(TYPE_SECRET, "2", {"a": 2, "b": 2})
    late = [Stale(type_url=TYPE_SECRET, nonce="n1")]
    assert ask(subject, TYPE_SECRET, "a", nonce="n1", error="no") == late
    assert ask(subject, TYPE_SECRET, "a", "b", nonce="n1", error="no") == []
    assert ask(subject, TYPE_SECRET, "c", nonce="n0") == [Stale(type_url=TYPE_SECRET, nonce="n0")]
    assert subject.due(TYPE_SECRET, "2", {"a": 2, "b": 2}) is None
    ask(subject, TYPE_SECRET, "a", "b", nonce="n2")
    assert items(subject.due(TYPE_SECRET, "2", {"a": 2, "b": 2})) == {"b": 2}


def test_a_name_given_up_and_wanted_again_while_a_response_is_under_way_is_sent_again() -> None:
    subject = stream()
    ask(subject, TYPE_KEY_SET, "a")
    subject.due(TYPE_KEY_SET, "1", {"a": 1, "b": 1})
    ask(subject, TYPE_KEY_SET, "*", nonce="n1")
    assert items(subject.due(TYPE_KEY_SET, "1", {"a": 1, "b": 1})) == {"b": 1}
    ask(subject, TYPE_KEY_SET, "b", nonce="n1")
    ask(subject, TYPE_KEY_SET, "*", nonce="n1")
    ask(subject, TYPE_KEY_SET, "*", nonce="n2")
    assert items(subject.due(TYPE_KEY_SET, "1", {"a": 1, "b": 1})) == {"a": 1}


def test_a_request_after_the_answer_with_the_same_nonce_is_no_second_ack() -> None:
    subject = stream()
    ask(subject, TYPE_SECRET, "a")
    subject.due(TYPE_SECRET, "1", {"a": 1})
    assert len(ask(subject, TYPE_SECRET, "a", nonce="n1")) == 1
    assert ask(subject, TYPE_SECRET, "a", "b", nonce="n1") == []


def test_only_what_changed_is_sent_of_types_that_are_not_full_state() -> None:
    subject = stream()
    ask(subject, TYPE_KEY_SET, "*")
    subject.due(TYPE_KEY_SET, "1", {"a": 1, "b": 1})
    ask(subject, TYPE_KEY_SET, "*", nonce="n1")
    assert items(subject.due(TYPE_KEY_SET, "2", {"a": 1, "b": 2})) == {"b": 2}


def test_removal_is_shown_by_a_full_set_and_only_there() -> None:
    for type_url, expected in ((TYPE_CLUSTER, {"b": 1}), (TYPE_KEY_SET, None)):
        subject = stream()
        ask(subject, type_url, "*")
        subject.due(type_url, "1", {"a": 1, "b": 1})
        ask(subject, type_url, "*", nonce="n1")
        assert items(subject.due(type_url, "2", {"b": 1})) == expected


def test_a_name_given_up_and_wanted_again_is_sent_again() -> None:
    subject = stream()
    ask(subject, TYPE_SECRET, "a", "b")
    subject.due(TYPE_SECRET, "1", {"a": 1, "b": 1})
    ask(subject, TYPE_SECRET, "b", nonce="n1")
    assert subject.due(TYPE_SECRET, "1", {"a": 1, "b": 1}) is None
    ask(subject, TYPE_SECRET, "a", "b", nonce="n1")
    assert items(subject.due(TYPE_SECRET, "1", {"a": 1, "b": 1})) == {"a": 1}


def test_an_empty_list_after_names_is_an_unsubscription_also_where_it_once_meant_everything() -> None:
    subject = stream()
    ask(subject, TYPE_CLUSTER, "a")
    subject.due(TYPE_CLUSTER, "1", {"a": 1})
    ask(subject, TYPE_CLUSTER, nonce="n1")
    response = subject.due(TYPE_CLUSTER, "2", {"a": 2})
    assert response is None


def test_a_reconnecting_subscriber_that_has_everything_is_sent_nothing() -> None:
    subject = stream()
    ask(subject, TYPE_BUNDLE, "*", version="7", nonce="from-another-stream")
    assert subject.due(TYPE_BUNDLE, "7", {"a": 1}) is None
    assert items(subject.due(TYPE_BUNDLE, "8", {"a": 2})) == {"a": 2}


def test_a_reconnecting_subscriber_with_another_version_is_sent_the_newest() -> None:
    subject = stream()
    ask(subject, TYPE_BUNDLE, "*", version="6")
    assert items(subject.due(TYPE_BUNDLE, "7", {"a": 1})) == {"a": 1}


def test_names_that_are_not_allowed_are_not_sent() -> None:
    subject = stream()
    subject.receive(Request(type_url=TYPE_SECRET, names=("mine", "theirs")))
    subject.allow(TYPE_SECRET, frozenset({"mine"}))
    assert items(subject.due(TYPE_SECRET, "1", {"mine": 1, "theirs": 1})) == {"mine": 1}


def test_memory_for_one_stream_is_bounded() -> None:
    subject = stream()
    with pytest.raises(ProtocolViolation, match="names"):
        ask(subject, TYPE_SECRET, *map(str, range(MAX_NAMES + 1)))
    for number in range(MAX_TYPES):
        ask(subject, f"type-{number}")
    with pytest.raises(ProtocolViolation, match="types"):
        ask(subject, "one-more")
