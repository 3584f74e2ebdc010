"""Resources keep their meaning between message, JSON and Any; what is unknown is refused."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct

from bartizan.errors import ResourceRejected
from bartizan.policy import names
from bartizan.xds import resources
from bartizan.xds.resources import from_json, packed, to_json
from protos.gen.envoy.config.core.v3.base_pb2 import Metadata
from protos.gen.envoy.config.route.v3.route_components_pb2 import FilterConfig, Route, VirtualHost
from protos.gen.envoy.config.route.v3.route_pb2 import RouteConfiguration


def configuration(keys: int = 12) -> RouteConfiguration:
    values = Struct()
    values.update({f"k{n}": n for n in range(keys)})
    route = Route(
        metadata=Metadata(filter_metadata={f"n{n}": values for n in range(keys)}),
        typed_per_filter_config={f"f{n}": packed(FilterConfig(disabled=True)) for n in range(keys)},
    )
    return RouteConfiguration(name="r", virtual_hosts=[VirtualHost(name="v", domains=["*"], routes=[route])])


def test_a_resource_comes_back_as_the_same_bytes_every_time() -> None:
    document = to_json(configuration())
    assert document["@type"] == names.TYPE_ROUTES
    first = from_json(document)
    assert first == packed(configuration())
    read = set()
    for _ in range(5):
        resources._read.cache_clear()
        read.add(from_json(document).value)
    assert read == {first.value}


def test_what_was_made_before_is_each_callers_own() -> None:
    to_json(configuration())["name"] = "changed"
    document = to_json(configuration())
    assert document["name"] == "r"
    before = from_json(document)
    document["name"] = "changed"
    assert (from_json(document) == before, from_json(to_json(configuration())) == before) == (False, True)


def of_routes(*names_: str, hosts: int = 2) -> RouteConfiguration:
    routes = [
        Route(name=name, typed_per_filter_config={"f": packed(FilterConfig(disabled=True))})
        for name in names_
    ]
    return RouteConfiguration(
        name="r",
        virtual_hosts=[VirtualHost(name=f"v{n}", domains=[f"{n}"], routes=routes) for n in range(hosts)],
    )


def test_of_routes_only_those_that_changed_are_made_again() -> None:
    from_json(to_json(of_routes("stays", "before")))
    made = [resources._json_of.cache_info().misses, resources._read.cache_info().misses]
    document = to_json(of_routes("stays", "after"))
    assert from_json(document) == packed(of_routes("stays", "after"))
    now = [resources._json_of.cache_info().misses, resources._read.cache_info().misses]
    assert [after - before for before, after in zip(made, now, strict=True)] == [2, 2]


@pytest.mark.parametrize(
    "configuration", [of_routes(), of_routes("r", hosts=0), of_routes("r"), of_routes("r", "r")]
)
def test_routes_come_back_in_their_order_and_places(configuration: RouteConfiguration) -> None:
    assert from_json(to_json(configuration)) == packed(configuration)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"name": "no type"},
        {"@type": "type.googleapis.com/envoy.of.the.Future", "name": "x"},
        {"@type": names.TYPE_CLUSTER, "no_such_field": 1},
        {"@type": names.TYPE_CLUSTER, "name": 7},
        {"@type": 7},
        {"@type": names.TYPE_ROUTES, "virtual_hosts": 7},
        {"@type": names.TYPE_ROUTES, "virtual_hosts": ["v"]},
        {"@type": names.TYPE_ROUTES, "virtual_hosts": [{"routes": 7}]},
        {"@type": names.TYPE_ROUTES, "virtual_hosts": [{"routes": ["r"]}]},
        {"@type": names.TYPE_ROUTES, "virtual_hosts": [{"routes": [None]}]},
        {"@type": names.TYPE_ROUTES, "virtual_hosts": [{"routes": [{"no_such_field": 1}]}]},
        {"@type": names.TYPE_ROUTES, "virtual_hosts": [{"no_such_field": 1}]},
    ],
    ids=[
        "empty",
        "no type",
        "unknown type",
        "unknown field",
        "wrong type",
        "type is no text",
        "hosts are no list",
        "a host is no mapping",
        "routes are no list",
        "a route is no mapping",
        "a route is nothing",
        "unknown field of a route",
        "unknown field of a host",
    ],
)
def test_what_this_release_can_not_read_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ResourceRejected):
        from_json(document)
