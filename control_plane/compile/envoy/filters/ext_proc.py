"""ext_proc: the content hop. The guard reads and changes request bodies and, by mode override, answers."""

from __future__ import annotations

from msgspec import UNSET

from bartizan.policy import names
from bartizan.policy.checks import Image, InputCheck, Pii, PromptInjection
from control_plane.compile.envoy.grpc_service import guard_stream
from control_plane.compile.envoy.values import TRUE, duration, http_filter
from control_plane.compile.resolve import Resolved
from protos.gen.envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutationRules
from protos.gen.envoy.extensions.filters.http.ext_proc.v3.ext_proc_pb2 import (
    ExternalProcessor,
    MetadataOptions,
)
from protos.gen.envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)
from protos.gen.envoy.type.v3.http_status_pb2 import HttpStatus, StatusCode

NAME = "envoy.filters.http.ext_proc"
MESSAGE_TIMEOUT = 2.0
"""Seconds for the answer to one message, waiting in the guard's queue included."""
ASKING_TIMEOUT = 6.0
"""Where another process decodes pictures, classifies texts or finds names: it takes up to four of them (sidecar/checks/child)."""
MAX_MESSAGE_TIMEOUT = 5.0


def message_timeout(resolved: Resolved) -> float:
    """Seconds that Envoy waits for the guard's answer to one message."""
    return ASKING_TIMEOUT if any(map(_asks, resolved.spec.input)) else MESSAGE_TIMEOUT


def _asks(check: InputCheck) -> bool:
    """Whether this check asks another process."""
    match check:
        case Image():
            return True
        case PromptInjection():
            return check.classifier is not UNSET
        case Pii():
            return bool(check.name_types)
        case _:
            return False


def build(resolved: Resolved) -> HttpFilter | None:
    """Only where bodies matter.

    Answers are not configured here but switched on by the guard's reply to the request headers: else every refusal
    of an earlier filter would open a guard stream, and a stream could not be ended early. The override is ignored
    without a word when either configured direction is FULL_DUPLEX_STREAMED.
    """
    if not resolved.content_hop:
        return None
    return http_filter(
        NAME,
        ExternalProcessor(
            grpc_service=guard_stream(),
            failure_mode_allow=False,
            status_on_error=HttpStatus(code=StatusCode.ServiceUnavailable),
            processing_mode=ProcessingMode(
                request_header_mode=ProcessingMode.SEND,
                request_body_mode=ProcessingMode.BUFFERED,
                # BUFFERED sends no body message where trailers alone follow the headers.
                request_trailer_mode=ProcessingMode.SEND,
                response_header_mode=ProcessingMode.SKIP,
                response_body_mode=ProcessingMode.NONE,
            ),
            allow_mode_override=True,
            request_attributes=[names.PROC_REVISION_ATTRIBUTE, "source.address"],
            message_timeout=duration(message_timeout(resolved)),
            max_message_timeout=duration(max(MAX_MESSAGE_TIMEOUT, message_timeout(resolved))),
            # Identity and decision id come from ext_authz this way: the client can't forge them. Back comes the word
            # that an answer was cut, so that its trace is told although nobody drew it.
            metadata_options=MetadataOptions(
                forwarding_namespaces=MetadataOptions.MetadataNamespaces(untyped=[names.AUTHZ_METADATA]),
                receiving_namespaces=MetadataOptions.MetadataNamespaces(untyped=[names.AUTHZ_METADATA]),
            ),
            # A change that Envoy would not make must fail, not be skipped.
            mutation_rules=HeaderMutationRules(disallow_is_error=TRUE),
            route_cache_action=ExternalProcessor.RETAIN,
        ),
    )
