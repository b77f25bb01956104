"""Reach keepers over their sockets, start them, and read what a dead one left behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from envmgr.aio import blocking
from envmgr.drivers import command
from envmgr.drivers.keeper import program, stuck
from envmgr.drivers.keeper.desk import RECORD
from envmgr.errors import Conflict, Unavailable, Unobservable, from_problem
from envmgr.model.observe import Absent, Present, ProcessIdentity, Seen, Unknown
from envmgr.protocols.keepers import Held, Keeper, KeeperRecord, Launch

_ANSWER_S = 2.0
_HIRE_S = 5.0
_STOP_MARGIN_S = 3.0
_POLL_S = 0.005
_ENDED = (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError)
_LINE_BYTES = 16 << 20
# What a Python may need to run at all. The rest of the daemon's environment is none of a keeper's business.
_INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "TZ")


class UnixKeepers:
    """Keepers of this host."""

    async def hire(self, home: Path, *, owner: str) -> Keeper:
        """See `Keepers.hire`. Safe to call at the same time for one folder: the lock leaves one keeper."""
        keeper = UnixKeeper(home, owner=owner)
        if await keeper.answers():
            return keeper
        await blocking.act("file", home.mkdir, mode=0o700, parents=True, exist_ok=True)
        argv = (sys.executable, "-I", "-S", program.__file__, str(home), owner)
        env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        done = await command.run(argv, env=env, deadline_s=_HIRE_S)
        if done.code == program.IS_HELD:
            await self._wait_for_other(keeper)
        elif not (done.is_ok and await keeper.answers()):
            reason = done.stderr.strip().rpartition("\n")[2] or f"exit {done.code}"
            raise Unavailable(f"no keeper could be started: {reason}", hint=f"Look at {home / program.LOG}.")
        return keeper

    async def find(self, home: Path, *, owner: str) -> Seen[Keeper]:
        """See `Keepers.find`. One that is just starting is waited for."""
        keeper = UnixKeeper(home, owner=owner)
        with anyio.move_on_after(_ANSWER_S):
            while True:
                try:
                    if await keeper.answers():
                        return Present(keeper)
                    if not _is_locked(home):
                        return Absent()
                except Conflict as error:
                    return Unknown(error.message)
                except (OSError, Unobservable) as error:
                    return Unknown(str(error))
                await anyio.sleep(_POLL_S)
        return Unknown("the keeper holds its lock and does not answer")

    async def clear(self, home: Path) -> None:
        """See `Keepers.clear`."""
        await blocking.act("file", (home / program.SOCKET).unlink, missing_ok=True)

    async def record(self, home: Path) -> KeeperRecord | None:
        """See `Keepers.record`."""
        return await blocking.look("file", _ANSWER_S, read_record, home)

    async def wake(self, home: Path, *, owner: str) -> None:
        """See `Keepers.wake`."""
        record = await self.record(home)
        if record is not None and record.owner == owner:
            await blocking.act("proc", stuck.wake, home / program.LOCK, record.identity)

    async def end(self, home: Path, *, owner: str) -> None:
        """See `Keepers.end`. Returns when the lock is free."""
        if not await blocking.look("file", _ANSWER_S, _is_locked, home):
            return
        record = await self.record(home)
        if record is None or record.owner != owner:
            raise _unsure(home)
        if not await blocking.act("proc", stuck.kill, home / program.LOCK, record.identity):
            raise _unsure(home)
        with anyio.move_on_after(_ANSWER_S):
            while await blocking.look("file", _ANSWER_S, _is_locked, home):  # noqa: ASYNC110 - a lock wakes nobody
                await anyio.sleep(_POLL_S)
            return
        raise _unsure(home)

    async def _wait_for_other(self, keeper: UnixKeeper) -> None:
        with anyio.move_on_after(_HIRE_S):
            while True:
                if await keeper.answers():
                    return
                await anyio.sleep(_POLL_S)
        raise Unobservable(
            "a keeper holds the agent's folder and does not answer",
            hint="Run `envmgr doctor`.",
            details={"home": str(keeper.home)},
        )


class UnixKeeper:
    """One keeper. Each question is a connection of its own, so nothing is held between questions."""

    def __init__(self, home: Path, *, owner: str) -> None:
        self.home, self._owner = home, owner

    async def answers(self) -> bool:
        """Whether a keeper serves the folder's socket; False also if it ended just while it was asked.

        Raises:
            Conflict: One of another owner.
            Unobservable: It took the connection and said nothing.
        """
        try:
            await self._ask("status")
        except (FileNotFoundError, NotADirectoryError, ConnectionError):
            return False
        return True

    async def launch(self, what: Launch) -> Held:
        return _held(await self._demand("launch", what=asdict(what) | {"cwd": str(what.cwd)}))

    async def status(self) -> Mapping[str, Held]:
        return {name: _held(one) for name, one in (await self._demand("status")).items()}

    async def signal(self, service: str, signal: str) -> None:
        await self._demand("signal", service=service, signal=signal)

    async def stop(
        self,
        service: str,
        *,
        signal: str = "SIGTERM",
        grace_s: float = 10.0,
        over_limit: str = "",
        keys: str = "",
    ) -> tuple[int, ...]:
        """See `Keeper.stop`. A service that was never launched has nothing to stop. A second, shorter grace wins."""
        how = {
            "service": service,
            "signal": signal,
            "grace_s": grace_s,
            "over_limit": over_limit,
            "keys": keys,
        }
        return tuple(await self._demand("stop", deadline_s=grace_s + _STOP_MARGIN_S, **how))

    async def forget(self, service: str) -> None:
        await self._demand("forget", service=service)

    async def changes(self) -> AsyncIterator[Held]:
        """See `Keeper.changes`. Ends when the keeper does; raises Unobservable if it was not there to begin with."""
        try:
            with anyio.fail_after(_ANSWER_S):
                stream = await self._connect()
                await stream.send(self._line("follow"))
        except (OSError, TimeoutError) as error:
            raise _silent(self.home, error) from error
        async with stream:
            lines = BufferedByteReceiveStream(stream)
            with contextlib.suppress(*_ENDED):
                while True:
                    said = json.loads(await lines.receive_until(b"\n", _LINE_BYTES))
                    if "problem" in said:
                        raise from_problem(said["problem"])
                    yield _held(said)

    async def dismiss(self) -> None:
        """See `Keeper.dismiss`. Returns when the process has let go of the folder."""
        await self._demand("end")
        with anyio.move_on_after(_ANSWER_S):
            while True:
                if not _is_locked(self.home):
                    return
                await anyio.sleep(_POLL_S)

    async def _demand(
        self, verb: str, *, deadline_s: float = _ANSWER_S, **fields: object
    ) -> Any:  # what JSON holds
        try:
            return await self._ask(verb, deadline_s=deadline_s, **fields)
        except OSError as error:
            raise _silent(self.home, error) from error

    async def _ask(self, verb: str, *, deadline_s: float = _ANSWER_S, **fields: object) -> Any:
        """Put one question; an OSError means that there was no connection, or that it ended before the answer."""
        try:
            with anyio.fail_after(deadline_s):
                async with await self._connect() as stream:
                    await stream.send(self._line(verb, **fields))
                    line = await BufferedByteReceiveStream(stream).receive_until(b"\n", _LINE_BYTES)
        except TimeoutError as error:
            raise _silent(self.home, error) from error
        except _ENDED as error:
            raise ConnectionResetError from error
        answer = json.loads(line)
        if not answer["ok"]:
            raise from_problem(answer["problem"])
        return answer["result"]

    async def _connect(self) -> anyio.abc.SocketStream:
        with _short(self.home) as path:
            return await anyio.connect_unix(path)

    def _line(self, verb: str, **fields: object) -> bytes:
        return json.dumps({"verb": verb, "owner": self._owner, **fields}).encode() + b"\n"


def read_record(home: Path) -> KeeperRecord | None:
    """See `UnixKeepers.record`. Blocking."""
    try:
        found = json.loads((home / RECORD).read_text(encoding="utf-8"))
        identity = ProcessIdentity(
            pid=found["pid"], start_ticks=found["start_ticks"], boot_id=found["boot_id"]
        )
        services = {name: _held(one) for name, one in found["services"].items()}
        return KeeperRecord(owner=found["owner"], identity=identity, services=services)
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def _short(home: Path) -> Iterator[str]:
    """A path to the socket below the 108 bytes of unix(7), whatever the folder's length."""
    path = str(home / program.SOCKET)
    if len(os.fsencode(path)) < 104:
        yield path
        return
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{program.SOCKET}"
    finally:
        os.close(folder)


def _is_locked(home: Path) -> bool:
    """Whether a keeper holds the folder; takes the lock for an instant if none does."""
    try:
        fd = os.open(home / program.LOCK, os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _silent(home: Path, error: BaseException) -> Unobservable:
    return Unobservable(
        f"the keeper does not answer ({type(error).__name__})",
        hint="Run `envmgr doctor`.",
        details={"home": str(home), "error": type(error).__name__},
    )


def _unsure(home: Path) -> Unobservable:
    return Unobservable(
        "something holds the keeper's lock and cannot be ended, or is not surely the keeper",
        hint=f"See who it is: `fuser -v {home / program.LOCK}`.",
        details={"home": str(home)},
    )


def _held(said: Mapping[str, Any]) -> Held:
    fields = {name: said[name] for name in Held.__dataclass_fields__ if name in said}
    who = said["identity"]
    identity = ProcessIdentity(**who) if who else None
    return Held(**fields | {"identity": identity, "log": Path(said["log"])})
