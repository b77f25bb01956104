"""envmgr's own tmux server: starting it, asking it, telling it."""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Sequence
from pathlib import Path

import anyio

from envmgr.aio import blocking, oom
from envmgr.drivers import command
from envmgr.drivers.tmux import config
from envmgr.drivers.tmux.control import ControlDown, ControlLost, TmuxControl
from envmgr.drivers.tmux.quoting import Command, arguments
from envmgr.errors import ConfigError, Unavailable, Unobservable

HUB = "_hub"
"""The hidden session that the daemon's own connection is attached to."""

PLACEHOLDER = ("sleep", "2147483647")
"""What a pane runs that has nothing to run yet; `infinity` is not known everywhere."""

# A Unix socket address holds 108 bytes on Linux, 104 on macOS (unix(7)); tmux adds a lock file of 5 more.
_PATH_LIMIT_BYTES = 100
_BUILDS_AT_ONCE = 4
_QUIET_S, _QUIET_PAUSE_S = 1.0, 0.002


class NoServer(Unavailable):
    """Nothing serves the socket, so there are no sessions either."""


class Refused(Unavailable):
    """The server answered, with an error.

    Attributes:
        text: What it said.
    """

    def __init__(self, text: str) -> None:
        super().__init__(f"tmux refused: {text}", hint="Run `envmgr ls`; the session may be gone.")
        self.text = text


class TmuxServer:
    """The server behind one socket. It is never started by asking it something.

    Args:
        socket: Absolute path; its directory is created with mode 0700.
        config_dir: Where the server's configuration file is written.
        deadline_s: Seconds until a call gives up.

    Raises:
        ConfigError: The socket path cannot be used.
    """

    def __init__(self, socket: Path, config_dir: Path, *, deadline_s: float) -> None:
        _check_path(socket)
        self._socket, self._config_dir, self._deadline_s = socket, config_dir, deadline_s
        # -N: a client that finds no server must not start one, with its environment and without our configuration.
        self.client = ("tmux", "-N", "-S", str(socket))
        self._env = config.environment()
        hub = ("new-session", "-A", "-s", HUB, "-E", "-c", "/", "-f", "ignore-size,no-output", *PLACEHOLDER)
        self._control = TmuxControl((*self.client, "-u", "-C", *hub), env=self._env, deadline_s=deadline_s)
        self._starting = anyio.Lock()
        self._starts = 0
        self._is_shielded = False
        self._attaching = anyio.Lock()
        self._building = 0
        self._slots = anyio.CapacityLimiter(_BUILDS_AT_ONCE)

    async def look(self, *commands: Command) -> str:
        """The text some reading commands print; falls back to a client process whenever the connection fails.

        Raises:
            NoServer: Nothing serves the socket.
            Unobservable: No answer in time.
            Refused: As for a pane that is gone.
        """
        started_at = time.monotonic()
        try:
            return await self._ask(commands)
        except (ControlDown, ControlLost):
            return await self._instead(commands, started_at)

    async def act(self, *commands: Command) -> str:
        """Like `look`, for commands that change something: they are never sent twice.

        Raises:
            Unobservable: Also when the connection broke after sending: they may have been carried out.
        """
        started_at = time.monotonic()
        try:
            return await self._ask(commands)
        except ControlDown:
            return await self._instead(commands, started_at)
        except ControlLost as error:
            raise Unobservable(
                f"the connection to tmux broke during {commands[0][0]}",
                hint="It may have been carried out or not; look before trying again.",
            ) from error

    async def once(self, *commands: Command, stdin: bytes | None = None, spent_s: float = 0.0) -> str:
        """Run a command list in a client process of its own; the first failure ends the list."""
        words = [*self.client, "-u", *arguments(commands)]
        finished = await self._run(words, stdin=stdin, deadline_s=max(self._deadline_s - spent_s, 0.05))
        if not finished.is_ok:
            raise _failure(finished.stderr.strip() or f"tmux ended with status {finished.code}")
        return finished.stdout.removesuffix("\n")

    async def build(self, *commands: Command) -> list[str]:
        """Run a creating command list through libtmux, starting the server if there is none; the lines it prints.

        The client process is killed at the deadline, also when the caller is cancelled.

        Raises:
            Unobservable: It was killed; what it asked for may still appear.
        """
        try:
            return await self._build(commands)
        except NoServer:
            await self.start()
            return await self._build(commands)

    async def start(self) -> None:
        """Start the server, in a session of its own; harmless if there is one.

        Who asks while it is being started waits for that start: clients that meet a server in its first moments are
        sometimes told that it exited.
        """
        known = self._starts
        async with self._starting:
            if self._starts != known:
                return
            file = await blocking.act("tmux", self._prepare)
            words = ["tmux", "-S", str(self._socket), "-f", str(file), "start-server"]
            finished = await self._run(words, deadline_s=self._deadline_s)
            if not finished.is_ok:
                raise Unavailable(
                    f"the tmux server did not start: {finished.stderr.strip()}", hint="Run `envmgr doctor`."
                )
            # Its configuration is read when this is answered; until then a server without sessions ends by itself.
            await self.once(["show-options", "-s", "exit-empty"])
            self._control.forgive()
            self._is_shielded = False
            await self._attach()
            self._starts += 1

    async def end(self) -> None:
        """Kill the server, if there is one, and remove its socket, which tmux 3.3 leaves behind."""
        await self._control.close()
        with contextlib.suppress(Unavailable):
            await self.once(["kill-server"])
        await anyio.Path(self._socket).unlink(missing_ok=True)

    async def close(self) -> None:
        """Drop our connection; the server lives on."""
        await self._control.close()

    async def _instead(self, commands: Sequence[Command], started_at: float) -> str:
        text = await self.once(*commands, spent_s=time.monotonic() - started_at)
        await self._attach()  # the server has just answered
        return text

    async def _attach(self) -> None:
        """Connect while nobody builds; given up when builders do not end, for it is tried again after the next answer.

        A tmux 3.3a server crashes when a control client attaches while sessions are being made: measured with bursts of
        20, a segfault in 14 of 80 when both happen together, in none of 80 when they do not.
        """
        async with self._attaching:
            with anyio.move_on_after(_QUIET_S):
                while self._building:  # noqa: ASYNC110 - milliseconds, and only while a connection is missing
                    await anyio.sleep(_QUIET_PAUSE_S)
                await self._control.connect()
                await self._shield()

    async def _shield(self) -> None:
        """When memory runs out, the server shall be there to tell which assistant was ended."""
        if oom.is_shielded() and not self._is_shielded:
            with contextlib.suppress(ControlDown, ControlLost, Unavailable, ValueError):
                pid = int(await self._ask([["display-message", "-p", "#{pid}"]]))
                self._is_shielded = await blocking.act("proc", oom.shield, pid)

    async def _ask(self, commands: Sequence[Command]) -> str:
        replies = await self._control.ask(commands)
        for reply in replies:
            if reply.is_error:
                raise _failure(reply.text.decode("utf-8", "replace"))
        return "\n".join(reply.text.decode("utf-8", "replace") for reply in replies if reply.text)

    async def _run(
        self, words: Sequence[str], *, stdin: bytes | None = None, deadline_s: float
    ) -> command.Finished:
        """A client process. In `/`, because a server it starts keeps the folder, and must not hold on to anybody's."""
        try:
            return await command.run(words, cwd=Path("/"), env=self._env, input=stdin, deadline_s=deadline_s)
        except Unobservable as error:
            raise Unobservable(
                f"tmux did not answer within {self._deadline_s:g} s",
                hint="Run `envmgr doctor`; the server may be stopped or overloaded.",
            ) from error
        except Unavailable as error:
            if await anyio.Path(self._socket).exists():
                raise
            raise NoServer(error.message, hint=error.hint) from error

    async def _build(self, commands: Sequence[Command]) -> list[str]:
        await blocking.act("tmux", importlib.import_module, "envmgr.drivers.tmux.build")
        # Here, and loaded in a thread before: it brings libtmux, 50 ms.
        from envmgr.drivers.tmux.build import build

        words = [*self.client[1:], *arguments(commands)]
        async with self._attaching:
            self._building += 1
        try:
            built = await build(words, slots=self._slots, deadline_s=self._deadline_s)
        finally:
            self._building -= 1
        if built.code != 0:
            raise _failure(built.refusal)
        return list(built.lines)

    def _prepare(self) -> Path:
        self._socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return config.write(self._config_dir)


def _failure(text: str) -> Unavailable:
    """What a failure text of tmux means; only two of them mean that there is no server (client.c)."""
    is_refused = text.startswith("no server running")
    is_missing = text.startswith("error connecting") and text.endswith("(No such file or directory)")
    if is_refused or is_missing:
        return NoServer("envmgr's tmux server is not running", hint="Run `envmgr doctor`.")
    if text.startswith(("error connecting", "lost server", "server exited")):
        return Unobservable(f"tmux did not answer: {text}", hint="Run `envmgr doctor`.")
    return Refused(text)


def _check_path(socket: Path) -> None:
    length = len(bytes(socket))
    if not socket.is_absolute():
        raise ConfigError("the tmux socket path is not absolute", hint="Set an absolute state directory.")
    if length > _PATH_LIMIT_BYTES:
        raise ConfigError(
            f"the tmux socket path is {length} bytes long; {_PATH_LIMIT_BYTES} is the most",
            hint="Choose a shorter state directory.",
        )
