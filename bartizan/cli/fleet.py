"""`bartizan endpoints`, `instances`, `trust`, join tokens: what is guarded, by which sidecars, and who may become one."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from bartizan.api import MAX_JOIN_SECONDS
from bartizan.cli.clock import DURATION, moment
from bartizan.cli.connection import Connection, pass_connection
from bartizan.cli.shown_once import OUT, Shown, show_once
from bartizan.errors import InvalidInput, Problem


@click.command()
@pass_connection
def endpoints(connection: Connection) -> None:
    """All guarded models: where they listen, who may call, on how many sidecars that is proven."""
    found = connection.call(lambda client: client.endpoints())
    connection.output.rows(
        (
            "policy",
            "model",
            "protocol",
            "listens at",
            "tenants",
            "callers prove",
            "key set",
            "mode",
            "enforced",
        ),
        [
            (
                each.policy,
                each.model,
                each.protocol,
                each.listen or each.problem,
                " ".join(each.tenants),
                " ".join(each.authn),
                each.key_set,
                each.mode,
                f"{each.enforced_count}/{each.total}",
            )
            for each in found
        ],
        data=found,
    )


@click.command()
@pass_connection
def instances(connection: Connection) -> None:
    """All sidecars with what they last said."""
    found = connection.call(lambda client: client.instances())
    connection.output.rows(
        ("instance", "identity", "live", "ready", "policy", "version", "last seen", "conditions"),
        [
            (
                each.instance_id,
                each.spiffe_id,
                each.live,
                each.ready,
                each.policy,
                each.policy_version or "",
                moment(each.last_seen),
                " ".join(each.conditions),
            )
            for each in found
        ],
        data=found,
    )


@click.command("join-token")
@click.argument("spiffe_id")
@click.option(
    "--label", "labels", multiple=True, metavar="KEY=VALUE", help="What policies select by; may repeat."
)
@click.option("--ttl", type=DURATION, default=f"{MAX_JOIN_SECONDS}s", help="At most and by default 10m.")
@OUT
@pass_connection
def join_token(
    connection: Connection, spiffe_id: str, labels: tuple[str, ...], ttl: int, out: Path | None
) -> None:
    """A single-use token (10 minutes) that lets one sidecar attest as SPIFFE_ID."""
    if wrong := [label for label in labels if not label.partition("=")[0] or "=" not in label]:
        raise InvalidInput(
            "the join token can't be made",
            [
                Problem(path="--label", code="invalid_value", message=f"{label!r} is not KEY=VALUE")
                for label in wrong
            ],
        )
    pairs = dict(label.partition("=")[::2] for label in labels)

    def make() -> Shown:
        issued = connection.call(lambda client: client.issue_join_token(spiffe_id, pairs, ttl))
        return Shown(
            name=f"join token {issued.id}",
            about={"id": issued.id},
            secret=issued.token,
            data=issued,
            undo=f"it ends in {ttl} s, or with `bartizan revoke-join-token {issued.id}`",
        )

    show_once(connection.output, out, make)


@click.command("join-tokens")
@pass_connection
def join_tokens(connection: Connection) -> None:
    """Join tokens that may still be used; never the tokens themselves."""
    found = connection.call(lambda client: client.join_tokens())
    connection.output.rows(
        ("id", "identity", "labels", "created", "by", "expires"),
        [
            (
                each.id,
                each.spiffe_id,
                " ".join(f"{key}={value}" for key, value in each.labels.items()),
                moment(each.created_at),
                each.created_by,
                moment(each.expires_at),
            )
            for each in found
        ],
        data=found,
    )


@click.command("revoke-join-token")
@click.argument("token_id")
@pass_connection
def revoke_join_token(connection: Connection, token_id: str) -> None:
    """Revoke a join token that nobody has used yet."""
    connection.call(lambda client: client.revoke_join_token(token_id))
    connection.output.text(f"join token {token_id} revoked", data={"revoked": token_id})


@click.command()
@pass_connection
def trust(connection: Connection) -> None:
    """The trust document (roots, keys that sign policies): what BARTIZAN_TRUST_FILE of a sidecar holds. No secret."""
    document = connection.call(lambda client: client.trust()).decode()
    connection.output.text(document, data=msgspec.Raw(document.encode()))


@click.command("remove-instance")
@click.argument("instance_id")
@pass_connection
def remove_instance(connection: Connection, instance_id: str) -> None:
    """Put a sidecar out for good: no renewal, no policies, no keys. Rotations no longer wait for it.

    Make sure first that its Envoy has ended: it may go on with the upstream key that it has, until that is revoked.
    """
    connection.call(lambda client: client.remove_instance(instance_id))
    connection.output.text(f"instance {instance_id} removed", data={"removed": instance_id})
