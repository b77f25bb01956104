"""Who calls an operation of coordination, and about which repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from envmgr.app.context import App
from envmgr.errors import UsageError
from envmgr.model.ids import AgentId
from envmgr.model.principal import Principal
from envmgr.model.task import task_number
from envmgr.protocols.store import Transaction
from envmgr.runtime.actor import Actor
from envmgr.services import calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks.

    Attributes:
        repo: Top of the main checkout of the repository it is about: locks, tasks and memories belong to one.
        actor: The agent; None for people and programs.
    """

    principal: Principal
    repo: str
    actor: Actor | None = None


async def caller(app: App, cwd: str = "", *, task: str = "") -> Caller:
    """An agent's repository is its own; anybody else's is that of the folder they ask from, or of the task they name.

    Raises:
        UsageError: Neither tells the repository.
        ConfigError: The folder is in none.
    """
    principal = calls.principal()
    actor = app.agents.actor(AgentId(principal.agent)) if principal.agent else None
    if actor is not None:
        return Caller(principal=principal, repo=actor.spec.repo, actor=actor)
    if cwd:
        repository = await app.agents.systems.workspaces.find(Path(cwd))
        return Caller(principal=principal, repo=str(repository.root))
    if task and (repo := await app.coordinator.ground.read(lambda tx: _repo_of(tx, task))):
        return Caller(principal=principal, repo=repo)
    repos = {actor.spec.repo for actor in app.agents.actors()}
    if len(repos) != 1:
        raise UsageError(
            "which repository?", hint="Say `repo`, a folder inside of it: `?repo=/home/you/shop`."
        )
    return Caller(principal=principal, repo=repos.pop())


def _repo_of(tx: Transaction, task: str) -> str:
    found = tx.tasks.get(task_number(task))
    return found.repo if found is not None else ""
