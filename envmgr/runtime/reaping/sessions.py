"""Sessions on envmgr's terminal server."""

from __future__ import annotations

from collections.abc import Sequence

from envmgr.aio import blocking
from envmgr.core.reaping import is_shared_daemon
from envmgr.model.observe import Absent, Present, ProcessIdentity, Unknown
from envmgr.model.resource import Kind, Sighting
from envmgr.protocols.processes import Marks
from envmgr.protocols.terminals import Session, Terminal
from envmgr.runtime.reaping.ground import Ground, refused, unseen

_GRACE_S = 3.0


class Sessions:
    """See `Sort`. Killing a session leaves the children of its panes (R-13): they are ended first."""

    kind = Kind.SESSION

    async def look(self, ground: Ground) -> Sequence[Sighting]:
        match await ground.systems.terminals.sessions():
            case Present(found):
                return [_sighting(one, ground) for one in found]
            case Absent():
                return []
            case Unknown(reason):
                return [unseen(Kind.SESSION, "the terminal server", reason)]

    async def weigh(self, seen: Sighting, ground: Ground) -> Sighting:
        return seen

    async def remove(self, seen: Sighting, ground: Ground) -> None:
        owner = f"{seen.instance}/{seen.agent}/{seen.generation}"
        match await ground.systems.terminals.look(seen.name, owner=owner):
            case Present(terminal):
                await _end_panes(terminal, ground)
                await ground.systems.terminals.close(terminal)
            case Unknown(reason):
                raise refused(f"session {seen.name} is not closed: {reason}")


async def _end_panes(terminal: Terminal, ground: Ground) -> None:
    systems = ground.systems
    match await systems.terminals.panes():
        case Present(panes):
            pids = [pane.pid for pane in panes if pane.session == terminal.session and not pane.dead]
        case _:
            return
    seen = [await blocking.look("proc", 5.0, systems.processes.identify, pid) for pid in pids]
    roots = tuple(who for who in seen if who is not None)
    await systems.processes.end_these(*await _descendants(roots, ground), grace_s=_GRACE_S)


async def _descendants(roots: tuple[ProcessIdentity, ...], ground: Ground) -> list[ProcessIdentity]:
    marks = Marks(roots=roots, marker={}, cwd=ground.layout.state_dir / "nowhere")
    match await ground.systems.processes.members(marks):
        case Present(members):
            return [m.identity for m in members if not is_shared_daemon(m.command, ground.policy)]
        case Unknown(reason):
            raise refused(f"what runs in the session cannot be seen: {reason}")
    return []


def _sighting(one: Session, ground: Ground) -> Sighting:
    instance, _, rest = one.owner.partition("/")
    agent, _, generation = rest.partition("/")
    return Sighting(
        kind=Kind.SESSION,
        key=f"{one.id}@{one.created_at:.0f}",
        name=one.name,
        instance=instance if agent else "",
        agent=agent,
        generation=int(generation) if generation.isdigit() else None,
        age_s=max(0.0, ground.systems.now() - one.created_at),
    )
