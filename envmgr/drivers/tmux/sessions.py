"""Sessions of agents: built, filled, looked at, typed into and closed, each by its exact id.

A name is used only to create and to find, exactly; whatever is changed afterwards is addressed by id and checked by owner,
because tmux takes a name for every session that begins with it (R-11).
"""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import anyio

from envmgr.aio import oom
from envmgr.drivers.tmux import config, listing
from envmgr.drivers.tmux.quoting import Command, arguments, clean, text_in_format
from envmgr.drivers.tmux.server import PLACEHOLDER, NoServer, Refused, TmuxServer
from envmgr.errors import Conflict, NotFound, Unavailable, Unobservable, UsageError
from envmgr.model.observe import Absent, Present, Seen, Unknown
from envmgr.protocols.terminals import Pane, Session, Terminal

_log = logging.getLogger(__name__)

# Both are put into tmux formats, where `#`, `,` and `}` would mean something.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
# The daemon's own sessions, the hub and the spare, begin with an underscore.
_AGENTS = "#{==:#{m:_*,#{session_name}},0}"
_SAY_MS = 10_000
_SPARE, _NOBODY = "_spare", "nobody"
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@+-]{0,199}")
# tmux types out, letter by letter, the name of a key it does not know.
_KEY = re.compile(
    r"(?:[CMS]-){0,3}(?:[!-~]|Enter|Escape|Tab|BTab|Space|BSpace|Up|Down|Left|Right|Home|End"
    r"|PageUp|PageDown|PgUp|PgDn|NPage|PPage|IC|DC|Insert|Delete|F1[0-2]|F[1-9])"
)
_TYPE_LIMIT_BYTES = 2000


class TmuxTerminals:
    """`protocols.terminals.Terminals` on a private tmux server.

    Args:
        socket: Absolute path of the server's socket, at most 100 bytes.
        config_dir: Where the server's configuration file is written.
        deadline_s: Seconds until a call gives up; connecting and waiting for one another included.

    Raises:
        ConfigError: The socket path cannot be used.
    """

    def __init__(self, socket: Path, config_dir: Path, *, deadline_s: float = 5.0) -> None:
        self._server = TmuxServer(socket, config_dir, deadline_s=deadline_s)
        self._spare: Terminal | None = None
        self._preparing = anyio.Lock()

    async def open(self, name: str, *, owner: str) -> Terminal:
        _check(name, owner)
        spare, self._spare = self._spare, None
        if spare is not None and await self._rename(spare, name, owner):
            return replace(spare, name=name, owner=owner)
        return await self._build(name, owner)

    async def prepare(self) -> None:
        async with self._preparing:
            if self._spare is None:
                self._spare = await self._build(_SPARE, _NOBODY)

    async def _rename(self, spare: Terminal, name: str, owner: str) -> bool:
        """Whether the spare is now the session of this name.

        Not if the name is taken, or the id is not a spare's any more: a new server counts its ids from the beginning.
        """
        at = f"'{spare.session}:'"
        become = f"rename-session -t {at} {name} ; set-option -t {at} @envmgr-owner '{owner}'"
        is_spare = f"#{{==:#{{session_name}} #{{@envmgr-owner}},{_SPARE} {_NOBODY}}}"
        try:
            now = await self._server.act(
                ["if-shell", "-F", "-t", f"{spare.session}:", is_spare, become],
                ["display-message", "-p", "-t", f"{spare.session}:", "#{session_name} #{@envmgr-owner}"],
            )
        except (Refused, NoServer):
            return False
        return now == f"{name} {owner}"

    async def _build(self, name: str, owner: str) -> Terminal:
        try:
            lines = await self._server.build(*_session(name, owner))
        except Refused as error:
            if not error.text.startswith("duplicate session"):
                raise
            return await self._existing(name, owner)
        return listing.terminal(name, owner, lines)

    async def run(self, pane: str, argv: Sequence[str], *, cwd: Path) -> int:
        if not await anyio.Path(cwd).is_dir():
            # tmux would start it in the home directory instead.
            raise NotFound(f"the directory {cwd.name} is gone", hint="Run `envmgr why`.")
        pid = ["display-message", "-p", "-t", pane, "#{pane_pid}"]
        return int(await self._server.act(*_start(pane, argv, cwd=cwd), pid))

    async def show(self, terminal: Terminal, viewers: Mapping[str, Sequence[str]]) -> None:
        pane = first = terminal.services_pane
        await self._server.act(
            ["kill-pane", "-a", "-t", first],
            ["set-option", "-w", "-t", first, "pane-border-status", "top" if viewers else "off"],
        )
        if not viewers:
            await self._server.act(
                ["respawn-pane", "-k", "-t", first, *PLACEHOLDER],
                ["set-option", "-p", "-u", "-t", first, "@envmgr-started"],
            )
        for number, (title, argv) in enumerate(viewers.items()):
            try:
                pane = await self._server.act(_split(pane)) if number > 0 else first
            except Refused as error:
                _log.warning("no room for all service viewers", extra={"shown": number, "why": error.text})
                return
            await self._server.act(
                *_start(pane, argv, cwd=Path("/")),
                ["set-option", "-p", "-t", pane, "@envmgr-viewer", title],
                ["select-layout", "-t", first, "tiled"],
            )

    async def furnish(self, terminal: Terminal, argv: Sequence[str]) -> None:
        await self._server.act(
            [
                "set-option",
                "-t",
                f"{terminal.session}:",
                "default-command",
                f"exec {shlex.join([*oom.released(), *argv])}",
            ]
        )

    async def look(self, name: str, *, owner: str) -> Seen[Terminal]:
        _check(name, owner)
        return await self._look(name, owner)

    async def _look(self, name: str, owner: str) -> Seen[Terminal]:
        match await self._list(f"#{{==:#{{session_name}},{name}}}", f"#{{@envmgr-owner}} {listing.WINDOW}"):
            case Present(lines):
                own = [line.removeprefix(f"{owner} ") for line in lines if line.startswith(f"{owner} ")]
                return Present(listing.terminal(name, owner, own)) if own else Absent()
            case unseen:
                return unseen

    async def panes(self) -> Seen[Sequence[Pane]]:
        match await self._panes():
            case Present(panes) if any(listing.is_mute(pane) for pane in panes):
                # tmux 3.3a may leave an ended program unreaped, and then cannot tell how it ended, until another child
                # of it ends: here is one.
                with contextlib.suppress(Unavailable):
                    await self._server.look(["run-shell", "true"])
                return await self._panes()
            case seen:
                return seen

    async def _panes(self) -> Seen[Sequence[Pane]]:
        match await self._list(_AGENTS, listing.PANE):
            case Present(lines):
                return Present([pane for line in lines if (pane := listing.pane(line)) is not None])
            case unseen:
                return unseen

    async def sessions(self) -> Seen[Sequence[Session]]:
        match await self._list(_AGENTS, listing.SESSION):
            case Present(lines):
                return Present(
                    list({one.id: one for one in map(listing.session, lines) if one is not None}.values())
                )
            case unseen:
                return unseen

    async def screen(self, pane: str, *, history: int = 0) -> str:
        above = ["-S", f"-{history}"] if history > 0 else []
        return await self._server.look(["capture-pane", "-p", "-t", pane, *above])

    async def paste(self, pane: str, text: str) -> None:
        await self._check_live(pane)
        name = f"envmgr-{secrets.token_hex(8)}"
        # From stdin, for an argument ends at 16 kB. Should the client be killed at its deadline, nothing is pasted later.
        await self._server.once(
            ["load-buffer", "-b", name, "-"],
            ["paste-buffer", "-d", "-p", "-b", name, "-t", pane],
            stdin=clean(text).encode(),
        )

    async def keys(self, pane: str, *keys: str) -> None:
        for key in keys:
            if not _KEY.fullmatch(key):
                raise UsageError(
                    f"there is no key {key!r}", hint="Keys are named like Enter, Escape, C-c or F1."
                )
        await self._check_live(pane)
        await self._server.act(["send-keys", "-t", pane, "--", *keys])

    async def type(self, pane: str, data: bytes) -> None:
        if len(data) > _TYPE_LIMIT_BYTES:
            raise UsageError(
                f"{len(data)} bytes are too many to type; {_TYPE_LIMIT_BYTES} is the most", hint="Paste them."
            )
        await self._check_live(pane)
        if data:
            await self._server.act(["send-keys", "-t", pane, "-H", *(f"{byte:02x}" for byte in data)])

    async def close(self, terminal: Terminal) -> None:
        _check(terminal.name, terminal.owner)
        session = terminal.session
        is_ours = f"#{{==:#{{@envmgr-owner}},{terminal.owner}}}"
        # Checked and killed by one command: between two, a new server could give the id to another session.
        kill = ["if-shell", "-F", "-t", f"{session}:", is_ours, f"kill-session -t '{session}'"]
        with contextlib.suppress(NoServer):
            await self._server.look(kill)
        match await self._list(f"#{{==:#{{session_id}},{session}}}", "#{@envmgr-owner}"):
            case Present([other, *_]):
                raise Conflict(
                    f"session {session} belongs to {other or 'nobody known'}, not to {terminal.owner}",
                    hint="It was left alone. Run `envmgr doctor`.",
                )
            case Unknown(reason):
                raise Unobservable(reason, hint="Run `envmgr doctor`.")

    def attach_command(self, terminal: Terminal, *, window: str = "agent", say: str = "") -> Sequence[str]:
        commands = [["attach-session", "-t", f"{terminal.session}:={window}"]]
        if say:
            shown = text_in_format(clean(say).replace("\n", " "))
            commands.append(["display-message", "-d", str(_SAY_MS), shown])
        return [*self._server.client, *arguments(commands)]

    def identify_command(self, terminal: Terminal) -> Sequence[str]:
        # A new server counts its ids from the beginning, and may know the session by the same one.
        shown = "#{pid} #{session_id} #{session_created} #{@envmgr-owner}"
        return [
            *self._server.client,
            *arguments([["display-message", "-p", "-t", f"{terminal.session}:", shown]]),
        ]

    async def retire(self) -> None:
        match await self._list(_AGENTS, "#{session_name}"):
            case Present([]) | Absent():
                await self._server.end()

    async def stop(self) -> None:
        await self._server.close()

    async def _existing(self, name: str, owner: str) -> Terminal:
        match await self._look(name, owner):
            case Present(Terminal(agent_pane="") | Terminal(services_pane="") | Terminal(monitor_pane="")):
                raise Unavailable(f"session {name} has lost a window", hint="Close it and open it again.")
            case Present(terminal):
                return terminal
            case Absent():
                raise Conflict(f"a session {name} of another owner exists", hint="Run `envmgr doctor`.")
            case Unknown(reason):
                raise Unobservable(reason, hint="Run `envmgr doctor`.")

    async def _list(self, condition: str, fields: str) -> Seen[list[str]]:
        """One line for each pane that meets the condition; Absent if there is no server."""
        # A program's name can hold line feeds and forge lines, but not the random word each true line begins with.
        word = f"{secrets.token_hex(8)} "
        try:
            text = await self._server.look(["list-panes", "-a", "-f", condition, "-F", word + fields])
        except NoServer:
            return Absent()
        except Unavailable as error:
            # What a server without any session says.
            is_empty = isinstance(error, Refused) and error.text == "no current target"
            return Present([]) if is_empty else Unknown(error.message)
        return Present([line.removeprefix(word) for line in text.split("\n") if line.startswith(word)])

    async def _check_live(self, pane: str) -> None:
        state = ["display-message", "-p", "-t", pane, "#{@envmgr-started} #{pane_dead}"]
        if await self._server.look(state) != "1 0":
            raise Unavailable(f"no program runs in pane {pane}", hint="Run `envmgr why`.")


def _session(name: str, owner: str) -> list[Command]:
    width, height = config.SIZE
    agent, *others = listing.WINDOWS
    printed = ["-d", "-P", "-F", listing.WINDOW]
    commands: list[Command] = [
        [*f"new-session -s {name} -n {agent} -x {width} -y {height} -E -c /".split(), *printed, *PLACEHOLDER],
        ["set-option", "-t", f"={name}:", "@envmgr-owner", owner],
    ]
    for window in others:
        # A pane without a process costs no fork, 1 ms each, but only a split can make one; it then gets its own window.
        commands += [
            ["split-window", "-d", "-c", "/", "-t", f"={name}:{agent}", ""],
            ["break-pane", *printed, "-n", window, "-s", f"={name}:{agent}.1", "-t", f"={name}:"],
        ]
    return commands


def _split(pane: str) -> Command:
    return ["split-window", "-d", "-P", "-F", "#{pane_id}", "-t", pane, "-c", "/", ""]


def _start(pane: str, argv: Sequence[str], *, cwd: Path) -> list[Command]:
    if not argv or "=" in argv[0]:
        raise UsageError("a command is empty or has '=' in its program", hint="Name the program without '='.")
    # Through `env`: tmux gives a single word to a shell, and says nothing when there is no such program. The agent must
    # not see the server it lives in.
    program = [*oom.released(), "env", "-u", "TMUX", "-u", "TMUX_PANE", "--", *argv]
    return [
        ["respawn-pane", "-k", "-t", pane, "-c", text_in_format(str(cwd)), "--", *program],
        ["set-option", "-p", "-t", pane, "@envmgr-started", "1"],
    ]


def _check(name: str, owner: str) -> None:
    if not _NAME.fullmatch(name) or not _OWNER.fullmatch(owner):
        raise UsageError(
            f"{name!r} of {owner!r} cannot be a session",
            hint="Use letters, digits, '-' and '_' (an owner: also '/').",
        )
