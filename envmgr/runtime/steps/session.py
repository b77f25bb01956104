"""The terminal session that holds the assistant and shows the services."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict

from envmgr.errors import Unobservable
from envmgr.model.lease import Tombstone
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.protocols.terminals import Terminal
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.saga import Receipt


class OpenSession:
    """Step: the session."""

    name = "session"

    def __init__(self, inc: Incarnation) -> None:
        self._inc = inc

    async def do(self) -> Receipt:
        """Create the session with its three windows; whatever has an older outcome of ours is adopted."""
        self._inc.terminal = await self._inc.systems.terminals.open(self._inc.session, owner=self._inc.tag)
        return asdict(self._inc.terminal)

    async def undo(self, receipt: Receipt | None) -> None:
        """End what runs in its panes, close it by id, and watch the name if nobody can tell."""
        await close_session(self._inc)


async def close_session(inc: Incarnation) -> None:
    """Close this generation's session; harmless when there is none.

    Raises:
        Unobservable: tmux does not answer; a tombstone is left, and the session is closed when it does.
    """
    terminals = inc.systems.terminals
    match await terminals.look(inc.session, owner=inc.tag):
        case Absent():
            return
        case Present(terminal):
            await _end_panes(inc, terminal)
            await terminals.close(terminal)
            inc.terminal = None
        case Unknown(reason):
            grave = Tombstone(
                kind="session",
                name=inc.session,
                agent=inc.id,
                generation=inc.generation,
                since=inc.systems.now(),
                data={"owner": inc.tag},
            )
            await inc.systems.store.write(lambda tx: tx.bury(grave))
            raise Unobservable(
                f"session {inc.session} could not be closed: {reason}",
                hint="envmgr closes it as soon as tmux answers; see `envmgr doctor`.",
            )


async def _end_panes(inc: Incarnation, terminal: Terminal) -> None:
    """Shells that people opened, viewers, and all they started: killing a session leaves children (R-13)."""
    match await inc.systems.terminals.panes():
        case Present(panes):
            pids = [pane.pid for pane in panes if pane.session == terminal.session and not pane.dead]
            roots = [identity for pid in pids if (identity := await inc.identify(pid))]
            await inc.systems.processes.end(inc.marks(*roots, part="person"), signal="SIGHUP", grace_s=2.0)


async def show_services(inc: Incarnation) -> None:
    """Viewers in the `services` window (they follow logs, they own nothing) and the monitor on demand."""
    if inc.terminal is None:
        return
    logs = {s.name: inc.home / "logs" / f"{s.name}.log" for s in inc.spec.services if s.command}
    viewers = {name: ("tail", "-n", "200", "-F", str(path)) for name, path in logs.items()}
    if viewers:
        await inc.systems.terminals.show(inc.terminal, viewers)
    place = shlex.quote(str(inc.layout.state_dir))
    follow = (
        f"env ENVMGR_STATE_DIR={place} {shlex.quote(sys.executable)} -m envmgr events {inc.name} --follow"
    )
    # a Python process per agent only for those who look
    wait = f'echo "Press Enter to follow the events of {inc.name}."; read -r _; exec {follow}'
    await inc.systems.terminals.run(inc.terminal.monitor_pane, ("/bin/sh", "-c", wait), cwd=inc.home)
