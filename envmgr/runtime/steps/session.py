"""The terminal session that holds the assistant and shows the services."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

from envmgr.aio import blocking
from envmgr.errors import Unobservable
from envmgr.model.lease import Tombstone
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.protocols.terminals import Terminal
from envmgr.runtime import sharing
from envmgr.runtime.incarnation import GIT_RUNS, Incarnation
from envmgr.runtime.runners import needs_runner
from envmgr.runtime.saga import Receipt, Step

GATE = "gate"
"""FIFO in the agent's folder; the agent pane reads from it before it starts the assistant."""

_WAIT = f'read -r _ < "$1/{GATE}" && exec /bin/sh "$1/start.sh"'


class OpenSession(Step):
    """Step: the session, with the assistant's pane waiting at a gate.

    The process of the agent pane is there from the beginning and reads from a FIFO; the step that starts the assistant
    only opens the gate, when tree and services are ready. So nothing but that stands between them and the assistant.
    """

    name = "session"

    def __init__(self, inc: Incarnation) -> None:
        self._inc = inc

    async def do(self) -> Receipt:
        """Create the session with its three windows; whatever has an older outcome of ours is adopted."""
        inc = self._inc
        await inc.until_made(GIT_RUNS)
        terminal = await open_session(inc)
        inc.has_made(self.name)
        return asdict(terminal)

    async def undo(self, receipt: Receipt | None) -> None:
        """End what runs in its panes, close it by id, and watch the name if nobody can tell."""
        await close_session(self._inc)


async def open_session(inc: Incarnation) -> Terminal:
    """The session of this generation, made or found, with its agent pane waiting at the gate."""
    terminals = inc.systems.terminals
    await blocking.act("file", _make_gate, inc.home)
    inc.terminal = await terminals.open(inc.session, owner=inc.tag)
    # `env -i`: neither tmux's variables nor the server's environment get to the assistant.
    program = ("/usr/bin/env", "-i", "TERM=tmux-256color", "/bin/sh", "-c", _WAIT, "sh", str(inc.home))
    inc.pane_pid = await terminals.run(inc.terminal.agent_pane, program, cwd=inc.home)
    return inc.terminal


def _make_gate(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    (home / GATE).unlink(missing_ok=True)
    os.mkfifo(home / GATE, 0o600)


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


_SHELL = 'cd "$1" && . "$2"; exec "${SHELL:-/bin/sh}"'


async def furnish_panes(inc: Incarnation) -> None:
    """Windows that people open have the agent's environment as it is at that moment: they read its file."""
    if inc.terminal is not None:
        shell = ("/bin/sh", "-c", _SHELL, "sh", str(inc.path), str(inc.home / "env"))
        await inc.systems.terminals.furnish(inc.terminal, shell)


async def show_viewers(inc: Incarnation) -> None:
    """A pane for each unit in the `services` window that is not quiet; they follow logs, they own nothing."""
    if inc.terminal is None:
        return
    logs = {s.name: sharing.log(inc, s) for s in inc.services if needs_runner(s) and not s.logs.quiet}
    viewers = {name: ("tail", "-n", "200", "-F", str(path)) for name, path in logs.items()}
    if viewers:
        await inc.systems.terminals.show(inc.terminal, viewers)


async def show_services(inc: Incarnation) -> None:
    """Viewers in the `services` window and the monitor on demand."""
    if inc.terminal is None:
        return
    await show_viewers(inc)
    place = shlex.quote(str(inc.layout.state_dir))
    follow = (
        f"env ENVMGR_STATE_DIR={place} {shlex.quote(sys.executable)} -m envmgr events {inc.name} --follow"
    )
    # a Python process per agent only for those who look
    wait = f'echo "Press Enter to follow the events of {inc.name}."; read -r _; exec {follow}'
    await inc.systems.terminals.run(inc.terminal.monitor_pane, ("/bin/sh", "-c", wait), cwd=inc.home)
