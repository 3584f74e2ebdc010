"""Rules of admission about ways around a sidecar that is there: the node, other users, the kernel's privileges."""

from __future__ import annotations

from typing import Final

from control_plane.injector import names
from control_plane.injector.config import Config
from control_plane.injector.container import OPEN_PORTS, open_ports
from control_plane.injector.rule import OPT_OUT, Rule, cel_text

CAPABILITIES: Final = ("ALL", "BPF", "NET_ADMIN", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE")
"""With one of these a container can undo redirect rules, or read and stop processes of the sidecar."""
# Runtimes take any case, some also the kernel's own prefix.
_CAPABILITY: Final = f"(?i)^(cap_)?({'|'.join(CAPABILITIES)})$"


def bypass_rules(config: Config) -> tuple[Rule, ...]:
    """Ways around a sidecar that is there."""
    user = config.user_id
    return (
        Rule(
            code="host_network",
            path="spec.hostNetwork",
            message="the pod shares its node's network: the model is reachable around the sidecar",
            hint=f"remove hostNetwork, {OPT_OUT}",
            expression="variables.optedOut || !has(object.spec.hostNetwork) || !object.spec.hostNetwork",
        ),
        Rule(
            code="shared_processes",
            path="spec.shareProcessNamespace",
            message="processes outside of the sidecar's container could stop or read it",
            hint=f"remove hostPID and shareProcessNamespace, {OPT_OUT}",
            expression="variables.optedOut || ((!has(object.spec.hostPID) || !object.spec.hostPID) &&"
            " (!has(object.spec.shareProcessNamespace) || !object.spec.shareProcessNamespace))",
        ),
        Rule(
            code="host_access",
            path="spec.volumes[].hostPath",
            message="the pod reaches its node's files or memory, and there the sidecar's sockets, token and state",
            hint=f"remove hostPath volumes and hostIPC, {OPT_OUT}",
            expression="variables.optedOut || (variables.volumes.all(v, !has(v.hostPath)) &&"
            " (!has(object.spec.hostIPC) || !object.spec.hostIPC))",
        ),
        Rule(
            code="host_port",
            path="spec.containers[].ports[].hostPort",
            message="a port of the node leads to a container, around the sidecar",
            hint=f"remove it and use a Service, {OPT_OUT}",
            expression="variables.optedOut || variables.containers.all(c, !has(c.ports) ||"
            " c.ports.all(p, !has(p.hostPort) || p.hostPort == 0))",
        ),
        Rule(
            code="capabilities",
            path="spec.containers[].securityContext",
            message="a container may change the pod's network rules or other containers' processes",
            hint=f"remove privileged and the capabilities {', '.join(CAPABILITIES)}",
            expression="variables.optedOut || variables.containers.all(c, !has(c.securityContext) ||"
            " ((!has(c.securityContext.privileged) || !c.securityContext.privileged) &&"
            " (!has(c.securityContext.capabilities) || !has(c.securityContext.capabilities.add) ||"
            f" !c.securityContext.capabilities.add.exists(a, a.matches({cel_text(_CAPABILITY)})) ||"
            " variables.capturers.exists(k, k.name == c.name))))",
        ),
        Rule(
            code="user_clash",
            path="spec.containers[].securityContext.runAsUser",
            message=f"a container runs as the sidecar's user {user}: redirect rules would let it pass",
            hint="run it as another user",
            expression="variables.optedOut || (variables.others.all(c, !has(c.securityContext) ||"
            f" !has(c.securityContext.runAsUser) || c.securityContext.runAsUser != {user}) &&"
            " (!has(object.spec.securityContext) || !has(object.spec.securityContext.runAsUser) ||"
            f" object.spec.securityContext.runAsUser != {user}))",
        ),
        Rule(
            code="excluded_ports",
            path=f"metadata.annotations[{names.EXCLUDE_INBOUND}]",
            message="ports are left open beside the guard: a way around it",
            hint="remove the annotation; what every pod may leave open stands in injector.yaml, openPorts",
            expression=f"variables.optedOut || !({cel_text(names.EXCLUDE_INBOUND)} in variables.annotations)",
        ),
        Rule(
            code="sidecar_open_ports",
            path=f"spec.initContainers[{names.SIDECAR}].env[{OPEN_PORTS}]",
            message="the sidecar is told to look away from ports that the configuration does not list",
            hint="what every pod may leave open stands in injector.yaml, openPorts",
            expression=f"variables.sidecars.all(c, !has(c.env) || c.env.all(e, e.name != {cel_text(OPEN_PORTS)} ||"
            f" (has(e.value) && e.value == {cel_text(open_ports(config, {}))})))",
        ),
        Rule(
            code="ephemeral_containers",
            path="spec.ephemeralContainers",
            message="an ephemeral container shares the pod's network and reaches the model on loopback",
            hint="debug a copy of the pod (kubectl debug --copy-to)",
            expression="variables.optedOut || !has(object.spec.ephemeralContainers) ||"
            " size(object.spec.ephemeralContainers) == 0",
        ),
    )
