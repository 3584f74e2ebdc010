"""Publication loses no update and keeps only the newest; Snapshot finds names that lead nowhere."""

from __future__ import annotations

import asyncio

from bartizan.policy.names import TYPE_CLUSTER, TYPE_LISTENER, TYPE_ROUTES, TYPE_SECRET
from bartizan.xds.snapshot import Publication, Resources, Snapshot, pack
from protos.gen.envoy.config.cluster.v3 import cluster_pb2
from protos.gen.envoy.config.listener.v3 import listener_pb2
from protos.gen.envoy.config.route.v3 import route_components_pb2, route_pb2
from protos.gen.envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from protos.gen.envoy.extensions.transport_sockets.tls.v3 import secret_pb2


def secrets(*names: str) -> Snapshot:
    return Snapshot({TYPE_SECRET: Resources.of({name: secret_pb2.Secret(name=name) for name in names})})


async def test_whoever_waits_gets_the_newest_and_skips_what_was_superseded() -> None:
    publication = Publication()
    empty, second, third = publication.current, secrets("a"), secrets("b")
    async with asyncio.TaskGroup() as group:
        waiters = [group.create_task(publication.changed(empty)) for _ in range(3)]
        await asyncio.sleep(0)
        publication.publish(second)
        publication.publish(third)
    assert [waiter.result() for waiter in waiters] == [third] * 3


async def test_a_change_before_waiting_is_not_lost() -> None:
    publication = Publication()
    before = publication.current
    publication.publish(secrets("a"))
    assert await publication.changed(before) is publication.current


async def test_publishing_the_same_snapshot_wakes_nobody() -> None:
    publication = Publication(secrets("a"))
    publication.publish(publication.current)
    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(publication.changed(publication.current))
        await asyncio.sleep(0)
        assert not waiter.done()
        waiter.cancel()


def test_equal_content_has_an_equal_version_whatever_the_order() -> None:
    assert Resources.of({"a": secret_pb2.Secret(name="a"), "b": secret_pb2.Secret(name="b")}) == Resources.of(
        {"b": secret_pb2.Secret(name="b"), "a": pack(secret_pb2.Secret(name="a"))}
    )
    versions = {secrets("a").types[TYPE_SECRET].version, secrets("ab").types[TYPE_SECRET].version}
    assert len(versions) == 2


def envoy(*, routes: str, cluster: str) -> Snapshot:
    manager = http_connection_manager_pb2.HttpConnectionManager()
    manager.rds.route_config_name = routes
    listener = listener_pb2.Listener(name="l")
    listener.filter_chains.add().filters.add(name="hcm").typed_config.Pack(manager)
    configuration = route_pb2.RouteConfiguration(
        name="r",
        virtual_hosts=[
            route_components_pb2.VirtualHost(
                name="v",
                routes=[
                    route_components_pb2.Route(route=route_components_pb2.RouteAction(cluster=cluster)),
                    route_components_pb2.Route(
                        direct_response=route_components_pb2.DirectResponseAction(status=404)
                    ),
                ],
            )
        ],
    )
    return Snapshot(
        {
            TYPE_LISTENER: Resources.of({"l": listener}),
            TYPE_ROUTES: Resources.of({"r": configuration}),
            TYPE_CLUSTER: Resources.of({"c": cluster_pb2.Cluster(name="c")}),
        }
    )


def test_names_that_lead_nowhere_are_told() -> None:
    assert envoy(routes="r", cluster="c").consistent() == ()
    assert envoy(routes="r", cluster="static").consistent({"static"}) == ()
    assert envoy(routes="x", cluster="static").consistent() == (
        "listener l names missing routes x",
        "routes r name missing cluster static",
    )
