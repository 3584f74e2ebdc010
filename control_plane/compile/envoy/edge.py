"""What the edge takes away from every request before anything reads it: headers that only we or a hop may set."""

from __future__ import annotations

import re

from bartizan.policy import names
from control_plane.compile.envoy.values import extension
from protos.gen.envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation
from protos.gen.envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from protos.gen.envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2
from protos.gen.envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from protos.gen.envoy.type.matcher.v3.string_pb2 import StringMatcher

STRIPPED_FAMILIES = ("x-(?:b3|datadog|envoy|forwarded)-.*", "ot-tracer-.*", "b3")
STRIPPED = (
    # a client must not steer or switch off tracing (a kept x-request-id once did), nor, at a model whose own tracer
    # reads another vendor's headers, choose whose trace its spans are part of
    "traceparent",
    "tracestate",
    "baggage",
    "elastic-apm-traceparent",
    "grpc-trace-bin",
    "newrelic",
    "sentry-trace",
    "sw8",
    "uber-trace-id",
    "x-amzn-trace-id",
    "x-client-trace-id",
    "x-cloud-trace-context",
    "x-ot-span-context",
    "x-request-id",
    # who somebody says the caller is
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    # another request than the one that was checked
    "x-original-url",
    "x-rewrite-url",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
)


def strip_headers() -> TypedExtensionConfig:
    """Runs before Envoy adds its own x-forwarded-for and x-request-id, so the model gets only those."""
    families = StringMatcher(safe_regex=RegexMatcher(regex=stripped_families()))
    mutations = [
        # a matcher is tried on every header, and so there is one; a name is looked up
        HeaderMutation(remove_on_match=HeaderMutation.RemoveOnMatch(key_matcher=families)),
        *(HeaderMutation(remove=name) for name in STRIPPED),
    ]
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        header_mutation_pb2.HeaderMutation(mutations=mutations),
    )


def stripped_families() -> str:
    """A regex for whole names. Envoy takes none of more than 100 RE2 instructions, and this one has 99."""
    own = all_but(names.HEADER_PREFIX, names.HEADER_PROBE.removeprefix(names.HEADER_PREFIX))
    return "|".join([own, *STRIPPED_FAMILIES])


def all_but(prefix: str, word: str) -> str:
    """A regex for every name that starts with `prefix`, except prefix + word. RE2 has no look-ahead, so it is spelt
    out: shorter than the word, different at one of its letters, or longer.
    """
    shorter = [re.escape(word[:end]) for end in range(len(word))]
    different = [f"{re.escape(word[:at])}[^{re.escape(letter)}].*" for at, letter in enumerate(word)]
    return f"{re.escape(prefix)}(?:{'|'.join([*shorter, *different, re.escape(word) + '.+'])})"
