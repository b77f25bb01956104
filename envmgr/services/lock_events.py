"""Events about locks: what concerns others than the one who acts; what everybody did is in the audit trail."""

from __future__ import annotations

from envmgr.model.event import NewEvent
from envmgr.model.lock import Grant


def is_agent(holder: str) -> bool:
    """Whether a holder is an agent: only the ids of others name their kind."""
    return ":" not in holder


def event(kind: str, holder: str, /, **data: object) -> NewEvent:
    """About a holder."""
    return NewEvent(kind=kind, agent=holder if is_agent(holder) else "", data=data)


def about(kind: str, grant: Grant, /, **more: object) -> NewEvent:
    """About a grant, for its holder; empty details are left out."""
    said = {key: value for key, value in more.items() if value}
    return event(
        kind, grant.holder, repo=grant.repo, target=grant.target, holder=grant.name, token=grant.token, **said
    )
