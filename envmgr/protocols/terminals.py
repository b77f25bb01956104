"""Terminal sessions that hold assistants and that people attach to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from envmgr.model.observe import Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """A session of one agent's generation; all ids are the server's exact ids (`$1`, `@2`, `%3`).

    Attributes:
        owner: `<instance>/<agent>/<generation>`, stored in the session's `@envmgr-owner` option.
        agent_pane, services_pane, monitor_pane: First pane of the window of that name.
    """

    session: str
    name: str
    owner: str
    agent_pane: str
    services_pane: str
    monitor_pane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pane:
    """One pane as the server lists it.

    Attributes:
        dead: The process ended; `exit_code` or `exit_signal` tells how.
        started: False while the pane still runs the placeholder it was created with.
        command: Name of the foreground process; set by the program, not to be trusted.
    """

    id: str
    session: str
    owner: str
    pid: int
    dead: bool
    exit_code: int | None
    exit_signal: str
    started: bool
    command: str
    in_mode: bool
    width: int
    height: int
    cursor: tuple[int, int] = (0, 0)
    history: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session on the server, whosever it is. `created_at` is Unix time; `owner` is empty for a person's own."""

    id: str
    name: str
    owner: str
    created_at: float


class Terminals(Protocol):
    """tmux on a private socket with a private configuration. All calls have deadlines (5 s).

    Raises Unobservable when the server does not answer in time, Unavailable when it refuses.
    """

    async def open(self, name: str, *, owner: str) -> Terminal:
        """Create a detached session with the windows `agent`, `services`, `monitor`, each with a placeholder.

        Starts the server if there is none. Calling it again with the same name and owner returns the existing session.

        Raises:
            Conflict: A session of that name exists and has another owner.
        """

    async def prepare(self) -> None:
        """Build a session ahead, so that the next `open` has only to name it; harmless when there is one."""

    async def run(self, pane: str, argv: Sequence[str], *, cwd: Path) -> int:
        """Replace what runs in the pane by `argv` (never typed into a shell); returns its pid."""

    async def show(self, terminal: Terminal, viewers: Mapping[str, Sequence[str]]) -> None:
        """Fill the `services` window with one pane per viewer, titled by its key. Repeating replaces them."""

    async def furnish(self, terminal: Terminal, argv: Sequence[str]) -> None:
        """What a new window or pane of the session runs when nothing else is said."""

    async def look(self, name: str, *, owner: str) -> Seen[Terminal]:
        """Absent only after the server listed its sessions, or surely has no server."""

    async def panes(self) -> Seen[Sequence[Pane]]:
        """All panes of the server in one call; the status loop's source."""

    async def sessions(self) -> Seen[Sequence[Session]]:
        """All but the daemon's own, such as the spare."""

    async def screen(self, pane: str, *, history: int = 0) -> str:
        """Visible text of the pane, with up to `history` lines above it."""

    async def paste(self, pane: str, text: str) -> None:
        """Deliver text as one bracketed paste, cleaned of control characters, without submitting it."""

    async def keys(self, pane: str, *keys: str) -> None:
        """Send named keys such as `Enter`, `C-c`."""

    async def type(self, pane: str, data: bytes) -> None:
        """Send bytes as typed; at most 2,000."""

    async def close(self, terminal: Terminal) -> None:
        """Kill the session by id after checking its owner tag; closing twice is harmless."""

    def attach_command(self, terminal: Terminal, *, window: str = "agent", say: str = "") -> Sequence[str]:
        """argv that puts a person into the session; to be executed in their terminal.

        Args:
            say: Shown to them for some seconds.
        """

    def identify_command(self, terminal: Terminal) -> Sequence[str]:
        """argv that prints the same line for as long as the session exists, and another or none afterwards."""

    async def retire(self) -> None:
        """End the server if it holds no session any more, and remove its socket; else leave it alone."""

    async def stop(self) -> None:
        """Drop the daemon's own connection; the server and its sessions live on."""
