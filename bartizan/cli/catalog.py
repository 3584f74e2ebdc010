"""Every command: its name, where it is defined, and its line in `bartizan --help`.

A module is imported when its command is called, because all of them together take longer than most commands.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import click


@dataclass(frozen=True, slots=True)
class Entry:
    """module: below bartizan.cli; the command is its attribute of the command's name. about: at most 60 characters."""

    name: str
    module: str
    about: str

    def load(self) -> click.Command:
        """Imports the module."""
        attribute = self.name.replace("-", "_")
        command: click.Command = getattr(import_module(f"bartizan.cli.{self.module}"), attribute)
        return command


SECTIONS: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    (
        "On one machine",
        (
            Entry("up", "laptop", "Put everything before your own model and keep it running"),
            Entry("down", "laptop", "Stop what `up` started; state stays"),
            Entry("doctor", "doctor", "Find what is wrong, and how to mend it"),
            Entry("demo", "laptop", "Play the main job on loopback, step by step"),
        ),
    ),
    (
        "Policies and who may call",
        (
            Entry("policy", "policy", "Check, apply, compare, undo policies"),
            Entry("mesh", "mesh", "MeshPolicies: what many endpoints have in common"),
            Entry("keys", "keys", "API keys of callers"),
            Entry("secrets", "secrets", "Keys that models need, and their rotation"),
        ),
    ),
    (
        "What holds, what happened",
        (
            Entry("status", "status", "Which policies are proven to be enforced, and where"),
            Entry("endpoints", "fleet", "Guarded models: where they listen, who may call"),
            Entry("instances", "fleet", "Sidecars, and what they last said"),
            Entry("audit", "audit", "Search decisions"),
            Entry("explain", "explain", "One decision: why, by which rule, and what to do"),
            Entry("events", "events", "Search what admins did"),
            Entry("scan", "scan", "Judge prompts of a file, offline"),
        ),
    ),
    (
        "Who may join and administrate",
        (
            Entry("tokens", "tokens", "Admin tokens and their roles"),
            Entry("join-token", "fleet", "Let one sidecar join"),
            Entry("join-tokens", "fleet", "Join tokens that may still be used"),
            Entry("revoke-join-token", "fleet", "Revoke one that nobody has used yet"),
            Entry("remove-instance", "fleet", "Put a sidecar out for good"),
            Entry("trust", "fleet", "Roots and keys that sidecars believe"),
        ),
    ),
    (
        "Servers and Kubernetes",
        (
            Entry("control-plane", "control_plane", "Run the control plane"),
            Entry("sidecar", "sidecar", "Run a sidecar: agent, Envoy, guard workers"),
            Entry("injector", "injector", "Run the admission webhooks; make their manifests"),
            Entry("inject", "inject", "Add the sidecar to manifests, as the webhook would"),
            Entry("analyze", "analyze", "Find models that can be reached around their sidecar"),
        ),
    ),
    (
        "This command",
        (Entry("completion", "completion", "Completion of commands and names for your shell"),),
    ),
)
HIDDEN = Entry("capture", "capture", "Lead a pod's connections through Envoy")
"""What only the injector's init container runs."""

ENTRIES = {entry.name: entry for _, entries in (*SECTIONS, ("", (HIDDEN,))) for entry in entries}
