"""What tmux is asked to print about sessions and panes, and how to read it."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from envmgr.protocols.terminals import Pane, Session, Terminal

WINDOWS = ("agent", "services", "monitor")

WINDOW = "#{session_id} #{pane_id} #{window_name}"
"""Format of the lines that `terminal` reads."""

# What a program can set, its name, stands last.
PANE = (
    "#{pane_id} #{session_id} #{pane_pid} #{pane_dead} #{pane_dead_status} #{pane_dead_signal} #{@envmgr-started}"
    " #{pane_in_mode} #{pane_width} #{pane_height} #{cursor_x} #{cursor_y} #{history_size} #{@envmgr-owner}"
    " #{pane_current_command}"
)
"""Format of the lines that `pane` reads."""

SESSION = "#{session_id} #{session_created} #{session_name} #{@envmgr-owner}"
"""Format of the lines that `session` reads."""


def session(line: str) -> Session | None:
    """None for one whose name has a blank in it: not one of ours."""
    fields = line.split(" ")
    if len(fields) != 4:
        return None
    id_, created, name, owner = fields
    return Session(id=id_, name=name, owner=owner, created_at=float(created))


def terminal(name: str, owner: str, lines: Sequence[str]) -> Terminal:
    """From lines of session id, pane id and window name, in the server's order."""
    first: dict[str, str] = {}
    for line in lines:
        _, pane, window = line.split(" ", 2)
        first.setdefault(window, pane)
    agent, services, monitor = (first.get(window, "") for window in WINDOWS)
    return Terminal(
        session=lines[0].split(" ", 1)[0],
        name=name,
        owner=owner,
        agent_pane=agent,
        services_pane=services,
        monitor_pane=monitor,
    )


def pane(line: str) -> Pane | None:
    """None for a session whose owner has a blank in it: not one of ours."""
    fields = line.split(" ", 14)
    if len(fields) != 15 or not fields[-3].isdigit():
        return None
    id_, session, pid, dead, code, sign, started, in_mode, *rest = fields
    width, height, x, y, history, owner, command = rest
    return Pane(
        id=id_,
        session=session,
        owner=owner,
        pid=int(pid),
        dead=dead == "1" and pid != "0",  # tmux calls a pane dead that never had a process
        exit_code=int(code) if code else None,
        exit_signal=_signal_name(sign),
        started=started == "1",
        command=command,
        in_mode=in_mode not in {"", "0"},
        width=int(width),
        height=int(height),
        cursor=(int(x), int(y)),
        history=int(history),
    )


def is_mute(pane: Pane) -> bool:
    """Whether its program has ended and tmux does not tell how."""
    return pane.dead and pane.exit_code is None and not pane.exit_signal


def _signal_name(sign: str) -> str:
    try:
        return signal.Signals(int(sign)).name
    except ValueError:
        return sign
