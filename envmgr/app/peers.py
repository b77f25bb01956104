"""Who is at the other end of the socket, when no key says so."""

from __future__ import annotations

from envmgr.app.context import App
from envmgr.errors import Unauthenticated
from envmgr.model.principal import Principal


def agent_behind(app: App, pid: int) -> Principal | None:
    """The agent that a process works for; None for a person's.

    An agent runs as the person does, so it can always find a way around. This is against leaving the key out, not
    against malice.

    Raises:
        Unauthenticated: It is of an agent that has no good key any more.
    """
    supervisor = app.supervisor
    if supervisor is None or pid <= 0 or not (actors := supervisor.actors()):
        return None
    panes = {
        inc.pane_pid: str(actor.state.id)
        for actor in actors
        if actor.state.is_alive and (inc := actor.incarnation) is not None and inc.pane_pid
    }
    processes = supervisor.systems.processes
    agent = processes.assistant_behind(pid, panes, instance=supervisor.instance)
    if not agent:
        return None
    known = app.coordinator.keys.agent(agent)
    if known is None:
        raise Unauthenticated(
            "this process belongs to an agent that has ended", hint="Ask from outside of the agent."
        )
    return known
