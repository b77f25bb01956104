"""Whether two templates mean the same shared service."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace

from envmgr.model.container import Scope
from envmgr.model.ids import AgentId
from envmgr.model.service import ChangeAction, LogPolicy, Reaction, ServiceSpec


def shared_id(repository: str, service: str) -> AgentId:
    """Under which the one instance of a repository's shared service holds ports, containers and volumes.

    As long as an agent's id, and never one: those are hexadecimal.
    """
    return AgentId("sh" + hashlib.sha256(f"{repository}\0{service}".encode()).hexdigest()[:6])


def alone(service: ServiceSpec) -> ServiceSpec:
    """What runs, without what is each agent's own: its edges, exports, tenancy, and how it watches over it."""
    return replace(
        service,
        scope=Scope.AGENT,
        depends_on=(),
        exports={},
        tenant=None,
        run_when=None,
        restart=None,
        watch=(),
        on_env_change=Reaction(action=ChangeAction.NONE),
        profiles=(),
        description="",
        critical=True,
    )


def digest(service: ServiceSpec) -> str:
    """The same for two definitions of one instance. What is not said does not count, so that a newer envmgr agrees."""
    what = asdict(replace(alone(service), ready=None, logs=LogPolicy()))
    return hashlib.sha256(json.dumps(_said(what), sort_keys=True, default=str).encode()).hexdigest()[:16]


def _said(value: object) -> object:
    if isinstance(value, dict):
        return {
            key: _said(inner) for key, inner in value.items() if inner not in (None, "", (), [], {}, False)
        }
    if isinstance(value, list | tuple):
        return [_said(inner) for inner in value]
    return value
