"""Who asks, as the daemon sees it."""

from __future__ import annotations

from pydantic import Field

from envmgr.app import text
from envmgr.app.context import App
from envmgr.app.operations import operation
from envmgr.app.shapes import Ask, View
from envmgr.model.principal import Scope
from envmgr.services import calls


class Me(Ask):
    """Takes nothing."""


class PrincipalView(View):
    """Who asks, and what for they may ask."""

    kind: str = Field(description="person, agent or program")
    name: str
    id: str = Field(description="What locks, tasks and the audit trail know them by")
    agent: str = Field(description="Id of the agent; empty for all others")
    scopes: list[str] = Field(description="Groups of operations that may be called")


def _text(result: PrincipalView, style: text.Style) -> str:
    return f"{result.kind} {result.name} ({result.id}): {', '.join(result.scopes)}\n"


@operation(
    "principal.show", route="GET /api/v1/me", gives=PrincipalView, text=_text, command="whoami", tool="whoami"
)
async def whoami(ask: Me, app: App) -> PrincipalView:
    """Tell who you are to envmgr, and what your key is good for."""
    me = calls.principal()
    scopes = [str(scope) for scope in Scope if me.may(scope)]
    return PrincipalView(kind=me.kind, name=me.name, id=me.id, agent=me.agent, scopes=scopes)
