"""Speak to the daemon over its Unix socket, and start it when nobody does.

Standard library only and light: every command line pays for this import.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from envmgr.app import paths
from envmgr.errors import ConfigError, EnvmgrError, NoSuchRoute, Unavailable, WrongMethod, from_problem

_START_S = 15.0
_SILENT_S, _PROBE_S = 3.0, 4.0
_STOP_S = 30.0
_NO_SUCH_ROUTE = (404, 405)
_INFO = "/api/v1/daemon"
_NOWHERE = "/api/v1/-"
_KEY = "ENVMGR_AGENT_KEY"  # protocols.assistant.KEY_VARIABLE, whose module costs more than all of this
_LONGEST_SOCKET = 100  # bytes; unix(7) has 108, and tmux wants some of them for its lock


class Response:
    """An answer whose body is read line by line."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._file = connection.makefile("rb")
        self.headers: dict[str, str] = {}
        try:
            self.status = int(self._line().split()[1])
            while line := self._line().strip():
                key, _, value = line.decode("latin-1").partition(":")
                self.headers[key.lower()] = value.strip()
        except BaseException:
            self.close()
            raise

    def _line(self) -> bytes:
        return _alive(self._file.readline)

    def _exactly(self, size: int) -> bytes:
        return _alive(lambda: self._file.read(size), size)

    def chunks(self) -> Iterator[bytes]:
        """Pieces of the body as they arrive, once; then the connection is closed. Raises Unavailable when the daemon dies before the end."""
        try:
            if self.headers.get("transfer-encoding") == "chunked":
                while size := int(self._line(), 16):
                    yield self._exactly(size)
                    self._line()
            elif length := int(self.headers.get("content-length", "0")):
                yield self._exactly(length)
        finally:
            self.close()

    def lines(self) -> Iterator[bytes]:
        """Whole lines as they arrive."""
        rest = b""
        for chunk in self.chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def body(self) -> bytes:
        """All of it."""
        return b"".join(self.chunks())

    def close(self) -> None:
        """Drop the connection."""
        self._file.close()
        self._connection.close()


def request(
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    accept: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """One request to the running daemon.

    Raises:
        Unavailable: Nobody listens.
        EnvmgrError: The daemon answered with a problem; rebuilt as the same class.
    """
    try:
        return _exchange(method, path, body, accept, headers)
    except _NotReadError:
        raise _ended() from None


def ask(
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    accept: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """`request`, after `ensure`; asked again of the next daemon when one ended before it had read the question.

    A daemon that was killed takes connections until the kernel has closed its socket; who asks then is not to see that.

    Raises:
        ConfigError: The state folder cannot be used.
        Unavailable: It does not come up, or ended while it answered: then the change may have been made.
        EnvmgrError: As in `request`.
    """
    deadline = time.monotonic() + _START_S
    while True:
        ensure()
        try:
            return _exchange(method, path, body, accept, headers)
        except _NotReadError:
            if time.monotonic() > deadline:
                raise _ended() from None
        time.sleep(0.01)


class _NotReadError(Exception):
    """The other end closed before it had read all that was asked, so that it has done nothing of it."""


def _exchange(
    method: str, path: str, body: Mapping[str, Any] | None, accept: str, headers: Mapping[str, str] | None
) -> Response:
    connection = connect()
    payload = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: envmgr", f"Accept: {accept}", "Connection: close"]
    lines += [f"{key}: {value}" for key, value in {**identity(), **(headers or {})}.items()]
    lines += ["Content-Type: application/json", f"Content-Length: {len(payload)}", "", ""]
    is_sent = False
    with contextlib.suppress(ConnectionError):  # what it said before it went, or that it went, is told below
        connection.sendall("\r\n".join(lines).encode("latin-1") + payload)
        is_sent = True
    with contextlib.ExitStack() as failed:
        failed.callback(connection.close)
        _await_answer(connection)
        _refuse_unread(connection, is_sent=is_sent)
        response = Response(connection)
        if response.status >= 400:
            raise _problem(response.body(), response.status, path=path)
        failed.pop_all()
    return response


def _refuse_unread(connection: socket.socket, *, is_sent: bool) -> None:
    """Linux resets a Unix connection whose other end leaves bytes unread, or never accepted it (net/unix/af_unix.c)."""
    try:
        if connection.recv(1, socket.MSG_PEEK) or is_sent:
            return
    except ConnectionResetError:
        pass
    raise _NotReadError


def identity() -> dict[str, str]:
    """The header that says who asks: an agent, where its assistant runs; the person, without one.

    An empty key is sent, and so is one that no header can hold, as an empty one: no slip of the pen makes an agent a person.
    """
    key = os.environ.get(_KEY)
    session = os.environ.get("ENVMGR_SESSION", "")
    named = {"X-Envmgr-Session": session} if session.isascii() and session.isprintable() and session else {}
    if key is None:
        return named
    key = key.strip()
    return {"X-API-Key": key if key.isascii() and key.isprintable() else "", **named}


def connect() -> socket.socket:
    """A connection to the daemon's socket. Raises Unavailable when nobody listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(os.path.join(paths.state_dir(), paths.SOCKET))
    except OSError as error:
        connection.close()
        raise Unavailable("the daemon does not run", hint="Start it with `envmgr daemon start`.") from error
    return connection


def _await_answer(connection: socket.socket) -> None:
    """As long as the daemon answers others; what was asked may take its time. Raises Unavailable when it answers nobody."""
    while not select.select([connection], [], [], _SILENT_S)[0]:
        await_others()


def await_others() -> None:
    """Return as soon as the daemon answers somebody. Raises Unavailable when it answers nobody."""
    if not _answers():
        pid = holder()
        raise Unavailable(
            f"the daemon (pid {pid}) does not answer",
            hint=f"Wake it if it is stopped: `kill -CONT {pid}`; else `kill -9 {pid}`: agents go on, and the next command starts another.",
        )


def _answers() -> bool:
    with contextlib.closing(connect()) as probe:
        probe.settimeout(_PROBE_S)
        try:
            # Nothing is served there, so that the answer waits for no terminal server and no engine.
            probe.sendall(f"GET {_NOWHERE} HTTP/1.1\r\nHost: envmgr\r\nConnection: close\r\n\r\n".encode())
            return bool(probe.recv(1))
        except OSError:
            return False


def _alive(read: Callable[[], bytes], size: int = 1) -> bytes:
    """What `read` gives, at least `size` bytes of it; less means that nobody is at the other end any more."""
    try:
        data = read()
    except ConnectionError:
        data = b""
    if len(data) < size:
        raise _ended()
    return data


def _ended() -> Unavailable:
    return Unavailable(
        "the daemon ended in the middle of its answer",
        hint="Agents go on, and the next command starts it again; `envmgr daemon logs` may tell why.",
    )


def _problem(body: bytes, status: int, *, path: str) -> EnvmgrError:
    try:
        error = from_problem(json.loads(body))
    except ValueError:
        error = Unavailable(f"the daemon answered {status}", hint="See `envmgr daemon logs`.")
    is_told = not isinstance(error, (NoSuchRoute, WrongMethod, Unavailable))
    if status in _NO_SUCH_ROUTE and not is_told and (path == _INFO or _is_of_other_code()):
        return Unavailable(
            "the daemon that runs is of other code than this command",
            hint="End it with `envmgr daemon stop`: agents go on, and the next command starts this one.",
        )
    return error


def _is_of_other_code() -> bool:
    from envmgr.app.code import fingerprint  # only when something is wrong already

    with contextlib.closing(request("GET", _INFO)) as response:
        answer = json.loads(response.body())
    return bool(answer.get("code") != fingerprint())


# --- the daemon's process ------------------------------------------------------------------------------------


def ensure() -> None:
    """Start the daemon if nobody listens, and wait until it answers.

    Called by several commands at once, one of them starts it and the others wait; its lock is held by the kernel.

    Raises:
        ConfigError: The state folder cannot be used.
        Unavailable: It did not come up within 15 s; carries the end of its log.
    """
    with contextlib.suppress(Unavailable):
        connect().close()
        return
    folder = paths.state_dir()
    if len(os.fsencode(os.path.join(folder, paths.SOCKET))) > _LONGEST_SOCKET:
        raise ConfigError(
            f"the path of the state folder is too long for sockets: {folder}",
            hint=f"Set ENVMGR_STATE_DIR to one of at most {_LONGEST_SOCKET - len(paths.SOCKET) - 1} bytes.",
        )
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.chmod(folder, 0o700)
        turn = open(os.path.join(folder, paths.STARTING), "ab")  # noqa: SIM115 - closed below
    except OSError as error:
        raise ConfigError(
            f"the state folder {folder} cannot be used: {error.strerror}",
            hint="Set ENVMGR_STATE_DIR to a folder that you may write to.",
        ) from error
    with turn:
        _start(os.path.join(folder, paths.LOG), turn)


def _start(log: str, turn: BinaryIO) -> None:
    child: subprocess.Popen[bytes] | None = None
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(Unavailable):
            connect().close()
            if child is not None:
                child.returncode = 0  # it lives on by itself; nobody will wait for it
            return
        status = child.poll() if child else None
        if status:
            break
        # One that ended well gave way to a daemon that was about to end.
        if (child is None or (status == 0 and holder() is None)) and _is_ours(turn):
            child = _launch(log)
        time.sleep(0.01)
    raise Unavailable(
        f"the daemon did not start: {_tail(log)}", hint="See `envmgr daemon logs` and `envmgr doctor`."
    )


def _is_ours(turn: BinaryIO) -> bool:
    """Whether it is this process that starts the daemon; until its end, then the next one's turn comes."""
    try:
        fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _launch(log: str) -> subprocess.Popen[bytes]:
    with open(log, "ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "envmgr.interfaces.http.daemon"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env={
                **os.environ,
                "ENVMGR_STATE_DIR": paths.state_dir(),
            },  # absolute: seen from / it would be another one
            start_new_session=True,
        )


def shut_down() -> bool:
    """Ask the daemon to end and wait for it; agents go on. Returns whether one ran.

    Raises:
        Unavailable: It did not end within 30 s.
    """
    try:
        request("POST", "/api/v1/daemon/stop", {}).body()
    except Unavailable:
        if holder() is None:
            return False
        raise
    await_end()
    return True


def await_end() -> None:
    """Wait for the end of a daemon that was asked to end: until then it still gives things back.

    Raises:
        Unavailable: It did not end within 30 s.
    """
    deadline = time.monotonic() + _STOP_S
    while holder() is not None:
        if time.monotonic() > deadline:
            raise Unavailable(
                f"the daemon (pid {holder()}) does not end", hint=f"End it with `kill {holder()}`."
            )
        time.sleep(0.01)


def holder() -> int | None:
    """Pid of the daemon that holds the lock; None when nobody does."""
    try:
        fd = os.open(os.path.join(paths.state_dir(), paths.LOCK), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.read(fd, 32).strip() or b"0") or None
    finally:
        os.close(fd)
    return None


def terminate(pid: int) -> None:
    """Ask a daemon by signal; for one that does not answer."""
    os.kill(pid, signal.SIGTERM)


def _tail(path: str, size: int = 600) -> str:
    with open(path, "rb") as file:
        file.seek(max(0, file.seek(0, 2) - size))
        return file.read().decode("utf-8", "replace").strip()
