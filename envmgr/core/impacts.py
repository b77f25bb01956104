"""Which field of a spec asks for what when it changes: one table, complete (a test goes through all fields).

Two columns for services, because an engine cannot change what a container was created with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from envmgr.model.change import Impact
from envmgr.model.service import ChangeAction, ServiceKind, ServiceSpec


class Rule(NamedTuple):
    """Impact on a process, impact on a container, and what people should know."""

    process: Impact
    container: Impact
    note: str = ""


def _both(impact: Impact, note: str = "") -> Rule:
    return Rule(impact, impact, note)


_LIVE = _both(Impact.LIVE)
_REPLAN = _both(Impact.REPLAN)
_FIXED = Rule(Impact.RESTART, Impact.RECREATE)
_RECREATE = _both(Impact.RECREATE)
_NEXT_START = "from its next start on"
_NEW_AGENTS = "only new agents"
_AT_START = "at the agent's next start: envmgr stop, envmgr start"

SERVICE: Mapping[str, Rule] = {
    "name": _REPLAN,
    "kind": _REPLAN,
    "command": _FIXED,
    "shell": _FIXED,
    "cwd": _FIXED,
    "env": _FIXED,  # softened by `on_env_change`, see `env_impact`
    "ports": _REPLAN,  # by the table PORT
    "depends_on": _LIVE,
    "ready": _LIVE,
    "startup": _both(Impact.NONE, _NEXT_START),
    "live": _LIVE,
    "exports": _LIVE,  # dependants follow by their environment
    "stop": _LIVE,
    "logs": _both(Impact.NONE, _NEXT_START),
    "limits": _FIXED,
    "success_exit_codes": _LIVE,
    "timeout_s": _LIVE,
    "critical": _LIVE,
    "description": _LIVE,
    "container": _RECREATE,  # by the table CONTAINER
    "replicas": _LIVE,  # of the unit in front; its instances come and go
    "replica_of": _REPLAN,
    "index": _REPLAN,
    "scope": _REPLAN,
    "tenant": _both(Impact.NONE, "for agents that join or leave from now on"),
    "run_when": _LIVE,
    "restart": _LIVE,
    "fatal_exit_codes": _LIVE,
    "watch": _LIVE,
    "on_env_change": _LIVE,
    "profiles": _both(Impact.NONE),
    "tty": _FIXED,
    "stdin": _FIXED,
}

PORT: Mapping[str, Rule] = {
    "name": _REPLAN,
    "prefer": _both(Impact.NONE, "the leased port is kept"),
    "fixed": _REPLAN,
    "env": _FIXED,
    "number": _REPLAN,
    "container": _REPLAN,
    "protocol": _REPLAN,
    "bind": _REPLAN,
    "open": _LIVE,
    "listen": _FIXED,
}

CONTAINER: Mapping[str, Rule] = {
    "image": _RECREATE,
    "build": _RECREATE,
    "entrypoint": _RECREATE,
    "mounts": _RECREATE,
    "user": _RECREATE,
    "networks": _RECREATE,
    "aliases": _RECREATE,
    "hostname": _RECREATE,
    "workdir": _RECREATE,
    "platform": _RECREATE,
    "pull": _both(Impact.NONE, "when it is made anew"),
    "init": _RECREATE,
    "read_only": _RECREATE,
    "shm_bytes": _RECREATE,
    "cap_add": _RECREATE,
    "cap_drop": _RECREATE,
    "extra_hosts": _RECREATE,
    "sysctls": _RECREATE,
    "labels": _RECREATE,
}

AGENT: Mapping[str, Rule] = {
    "template": _both(Impact.NONE),
    "source": _both(Impact.NONE),
    "repo": _both(Impact.NONE),
    "name": _both(Impact.NONE),
    "params": _both(Impact.NONE),
    "env": _both(Impact.LIVE, "new panes and envmgr exec; the assistant keeps its own until its next start"),
    "secrets": _both(
        Impact.LIVE, "new panes and envmgr exec; the assistant keeps its own until its next start"
    ),
    "workspace": _both(Impact.NONE, _NEW_AGENTS),
    "ports": _both(Impact.NONE, "leased ports are kept"),
    "services": _REPLAN,  # by unit
    "assistant": _both(Impact.REPLAN, _AT_START),  # by the table ASSISTANT
    "hooks": _LIVE,
    "queue": _both(Impact.LIVE, "from the next task on"),
    "limits": _both(Impact.REPLAN, _AT_START),
    "retention": _LIVE,
    "shared_daemons": _LIVE,
    "recovery": _LIVE,
    "volumes": _both(Impact.NONE, "only volumes that do not exist yet"),
    "profiles": _both(Impact.NONE),
    "files": _both(Impact.NONE),
    "asked": _both(Impact.NONE),
    "inherited": _both(Impact.NONE),
    "origin": _both(Impact.NONE),
}

ASSISTANT: Mapping[str, Rule] = {
    "kind": _both(Impact.REPLAN, _AT_START),
    "command": _both(Impact.REPLAN, _AT_START),
    "model": _both(Impact.REPLAN, _AT_START),
    "args": _both(Impact.REPLAN, _AT_START),
    "prompt": _both(Impact.NONE, _NEW_AGENTS),
    "env": _both(Impact.LIVE, "new panes and envmgr exec; the assistant keeps its own until its next start"),
    "depends_on": _both(Impact.NONE, _AT_START),
    "stop": _LIVE,
    "keys": _LIVE,
    "ready_s": _both(Impact.NONE, _AT_START),
    "permission_mode": _both(Impact.REPLAN, _AT_START),
    "resume": _both(Impact.LIVE),
    "capabilities": _both(Impact.LIVE),
    "tools": _both(Impact.REPLAN, _AT_START),
    "scopes": _both(Impact.REPLAN, _AT_START),
}


def service_rule(service: ServiceSpec, path: tuple[str, ...]) -> tuple[Impact, str]:
    """Impact and note of a changed field of a unit; `path` are its names from the service down."""
    rule = SERVICE[path[0]]
    if path[0] == "ports" and len(path) > 2:
        rule = PORT[path[2]]
    elif path[0] == "container" and len(path) > 1:
        rule = CONTAINER[path[1]]
    if path[0] == "env":
        return env_impact(service)
    if path == ("logs", "quiet"):
        return Impact.LIVE, ""
    if service.kind is ServiceKind.EXTERNAL:
        return Impact.LIVE, ""  # nothing of it runs here
    return (rule.container if service.container else rule.process), rule.note


def env_impact(service: ServiceSpec) -> tuple[Impact, str]:
    """What a changed variable asks of a unit: its `on_env_change`. What a container was created with cannot be changed."""
    match service.on_env_change.action:
        case ChangeAction.NONE:
            return Impact.NONE, f"on_env_change: none; {_NEXT_START}"
        case ChangeAction.SIGNAL:
            return Impact.SIGNAL, f"on_env_change: {service.on_env_change.signal}"
        case ChangeAction.EXEC:
            return Impact.SIGNAL, "on_env_change: runs its command"
        case ChangeAction.RESTART | ChangeAction.RECREATE:
            return (Impact.RECREATE if service.container else Impact.RESTART), ""


def agent_rule(path: tuple[str, ...]) -> tuple[Impact, str]:
    """Impact and note of a changed field of the agent."""
    rule = AGENT[path[0]]
    if path[0] == "assistant" and len(path) > 1:
        rule = ASSISTANT[path[1]]
    return rule.process, rule.note
