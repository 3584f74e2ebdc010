"""custom_response: what a model's errors say stays here where no check reads answers. Stack traces name files and hosts.

An answer of 5xx and a redirect keep their status and get a body of ours; so does one of 4xx that is not JSON. JSON of
4xx passes: it tells clients what they did wrong.
"""

from __future__ import annotations

from google.protobuf.message import Message

from bartizan.policy import names
from bartizan.xds.resources import packed
from control_plane.compile.envoy.local_reply import DECISION, body_format
from control_plane.compile.envoy.values import header, http_filter
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.extensions.filters.http.custom_response.v3.custom_response_pb2 import CustomResponse
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)
from protos.gen.envoy.extensions.http.custom_response.local_response_policy.v3.local_response_policy_pb2 import (
    LocalResponsePolicy,
)
from protos.gen.envoy.type.matcher.v3.http_inputs_pb2 import HttpResponseHeaderMatchInput
from protos.gen.envoy.type.matcher.v3.status_code_input_pb2 import HttpResponseStatusCodeClassMatchInput
from protos.gen.xds.core.v3.extension_pb2 import TypedExtensionConfig
from protos.gen.xds.type.matcher.v3.matcher_pb2 import Matcher
from protos.gen.xds.type.matcher.v3.regex_pb2 import RegexMatcher
from protos.gen.xds.type.matcher.v3.string_pb2 import StringMatcher

NAME = "envoy.filters.http.custom_response"
MODEL_ERROR = "The model answered with an error."

_Predicate = Matcher.MatcherList.Predicate


def build(resolved: Resolved) -> HttpFilter | None:
    """Where the guard sees no answers. It replaces errors itself where it does; shadow mode changes none."""
    if resolved.answers_checked or resolved.spec.mode == "shadow":
        return None
    error = _any(_status("5xx"), _status("3xx"), _all(_status("4xx"), _not(_header("content-type", _JSON))))
    # The guard's and Envoy's own refusals come by here, too. Routes take this header from what a model says.
    from_model = _not(_header(names.HEADER_DECISION, ".*"))
    body = body_format(resolved.spec.model.protocol, MODEL_ERROR, DECISION)
    policy = LocalResponsePolicy(
        body_format=body,
        response_headers_to_add=[
            header("content-type", body.content_type),  # the filter would say text/plain
            header(names.HEADER_DECISION, DECISION),  # local_reply has nothing to add then
        ],
    )
    replace = Matcher.OnMatch(action=_extension("replace", policy))
    matcher = Matcher(
        matcher_list=Matcher.MatcherList(
            matchers=[Matcher.MatcherList.FieldMatcher(predicate=_all(from_model, error), on_match=replace)]
        )
    )
    return http_filter(NAME, CustomResponse(custom_response_matcher=matcher))


_JSON = r"(?i)application/([a-z0-9.+-]+\+)?json *(;.*)?"


def _extension(name: str, config: Message) -> TypedExtensionConfig:
    return TypedExtensionConfig(name=name, typed_config=packed(config))


def _status(kind: str) -> _Predicate:
    return _Predicate(
        single_predicate=_Predicate.SinglePredicate(
            input=_extension("status", HttpResponseStatusCodeClassMatchInput()),
            value_match=StringMatcher(exact=kind),
        )
    )


def _header(name: str, pattern: str) -> _Predicate:
    return _Predicate(
        single_predicate=_Predicate.SinglePredicate(
            input=_extension("header", HttpResponseHeaderMatchInput(header_name=name)),
            value_match=StringMatcher(
                safe_regex=RegexMatcher(google_re2=RegexMatcher.GoogleRE2(), regex=pattern)
            ),
        )
    )


def _all(*predicates: _Predicate) -> _Predicate:
    return _Predicate(and_matcher=_Predicate.PredicateList(predicate=predicates))


def _any(*predicates: _Predicate) -> _Predicate:
    return _Predicate(or_matcher=_Predicate.PredicateList(predicate=predicates))


def _not(predicate: _Predicate) -> _Predicate:
    return _Predicate(not_matcher=predicate)
