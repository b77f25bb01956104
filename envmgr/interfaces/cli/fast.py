"""`envmgr --help` and a warm `envmgr ls` without importing anything that Python has not loaded already."""

import _socket
import os
import sys

from envmgr.app.paths import SOCKET, state_dir

_HELP = ((), ("--help",), ("-h",))
_LIST = {("ls",): "text/plain", ("ls", "--json"): "application/json"}
_TIMEOUT_S = 3.0


def run(argv: list[str]) -> int | None:
    """The exit status, or None when this needs the whole command line."""
    words = tuple(argv)
    if "_ENVMGR_COMPLETE" in os.environ:
        return None
    if words in _HELP:
        return _print_help()
    if words in _LIST:
        return _print_list(_LIST[words])
    return None


def _print_help() -> int | None:
    path = os.path.join(os.path.dirname(__file__), "help.txt")
    try:
        with open(path, "rb") as file:
            _write(file.read())
    except FileNotFoundError:
        return None
    return 0


def _print_list(accept: str) -> int | None:
    """None unless the daemon answers with success; the whole command line then does it again, and explains."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.settimeout(_TIMEOUT_S)
    request = (
        f"GET /api/v1/agents HTTP/1.1\r\nHost: envmgr\r\nAccept: {accept}\r\n"
        f"X-Envmgr-Terminal: {terminal()}\r\nConnection: close\r\n\r\n"
    )
    try:
        connection.connect(f"{state_dir()}/{SOCKET}")
        connection.sendall(request.encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    except OSError:
        return None
    finally:
        connection.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200") or b"chunked" in head:
        return None
    _write(body if body.endswith(b"\n") else body + b"\n")
    return 0


def _write(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader had enough; no complaint at exit


def terminal() -> str:
    """`WIDTH;colour;ascii` of standard output, without what is not so; wide and plain when it is no terminal."""
    letters = "" if (sys.stdout.encoding or "utf-8").lower().startswith("utf") else "ascii"
    if not os.isatty(1):
        return f"1000;;{letters}"
    width = os.get_terminal_size(1).columns
    return f"{width};{'' if os.environ.get('NO_COLOR') else 'colour'};{letters}"
