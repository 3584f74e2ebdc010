"""What Envoy says of itself is said as the guard says it."""

from __future__ import annotations

import json

import pytest
from google.protobuf.json_format import MessageToDict

from control_plane.compile.envoy.local_reply import local_reply
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    ResponseMapper,
)
from sidecar.formats.anthropic import AnthropicFormat

KNOWN = {
    400: "invalid_request_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    415: "invalid_request_error",
    431: "request_too_large",
}
LATER = {502: "api_error", 503: "overloaded_error", 504: "timeout_error"}


def status_of(mapper: ResponseMapper) -> int:
    """What the client sees; 0 where the mapper takes any."""
    if mapper.HasField("status_code"):
        return mapper.status_code.value
    filters = mapper.filter.and_filter.filters
    asked = [each.status_code_filter for each in filters if each.HasField("status_code_filter")]
    return asked[0].comparison.value.default_value if asked else 0


@pytest.mark.parametrize(("status", "named"), [*KNOWN.items(), *LATER.items(), (0, "api_error")])
def test_an_anthropic_client_reads_the_type_that_belongs_to_the_status(status: int, named: str) -> None:
    mappers = [each for each in local_reply("anthropic").mappers if status_of(each) == status]
    assert mappers
    for mapper in mappers:
        said = MessageToDict(mapper.body_format_override.json_format)
        assert (said["type"], said["error"]["type"]) == ("error", named)
        if status:
            _, body = AnthropicFormat().error_body(status, "of the guard", "id")
            assert json.loads(body)["error"]["type"] == named
