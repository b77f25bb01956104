"""Report one hook call to the daemon: `python -I -S client.py SOCKET AGENT GENERATION HOME HOOK`, JSON on stdin.

The assistant waits for this program at every tool call. So it imports built-in modules only (json costs as much as the
whole interpreter, and is loaded for big payloads alone), and it never fails: Claude Code takes exit status 2 as a veto.
Standard output is advice to the model: it prints what the daemon answers, which is empty as a rule.
"""

import _socket
import posix
import sys
import time

_CONNECT_S = 1.0
_ANSWER_S = 2.0
_VALUE_BYTES = 4096
_PROMPT_BYTES = 256 * 1024
_PENDING_BYTES = 1024 * 1024
_SAID_BYTES = 64 * 1024


def _report(socket: str, agent: str, *, generation: str, home: str, hook: str) -> None:
    at, payload = time.time(), _shortened(sys.stdin.buffer.read().strip() or b"{}")
    body = b'{"generation": %d, "hook": "%s", "payload": %s' % (int(generation), hook.encode(), payload)
    try:
        answer = _post(socket, f"/api/v1/agents/{agent}/report", body=body + b"}")
    except OSError:
        answer = b""
    if answer.startswith(b"HTTP/1.1 200 "):
        sys.stdout.buffer.write(answer.partition(b"\r\n\r\n")[2])
    elif not answer.startswith(b"HTTP/1."):
        _keep(f"{home}/hooks.pending.jsonl", body + b', "at": %.3f}' % at)


def _shortened(payload: bytes) -> bytes:
    """Cut long values to text of 4 kB, save for prompts, which may have to be said again; also makes one line of it."""
    if len(payload) <= _VALUE_BYTES and b"\n" not in payload:
        return payload
    import json  # deferred: most payloads are small

    values = {key: json.dumps(value) for key, value in json.loads(payload).items()}
    short = {
        key: _cut(text, _PROMPT_BYTES if key == "prompt" else _VALUE_BYTES) for key, text in values.items()
    }
    return ("{" + ", ".join(f"{json.dumps(key)}: {text}" for key, text in short.items()) + "}").encode()


def _cut(text: str, size: int) -> str:
    if len(text) <= size:
        return text
    import json

    # Strings stay strings without their quotes; anything else becomes the beginning of its JSON.
    return json.dumps((json.loads(text) if text.startswith('"') else text)[:size])


def _post(socket: str, path: str, *, body: bytes) -> bytes:
    """The daemon's answer, whatever it says: it is final. Only its first word if the rest does not come in time."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: envmgr\r\nAccept: text/plain\r\n"
        "Content-Type: application/json\r\nConnection: close\r\n"
    )
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(_CONNECT_S)
        # From inside its folder, because a socket's path is limited to 107 bytes (unix(7)).
        folder, _, name = socket.rpartition("/")
        posix.chdir(folder)
        connection.connect(name)
        connection.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        connection.settimeout(_ANSWER_S)
        answer = connection.recv(_SAID_BYTES)
        try:
            while len(answer) < _SAID_BYTES and (more := connection.recv(_SAID_BYTES)):
                answer += more
        except OSError:
            return answer[:12]
        return answer
    finally:
        connection.close()


def _keep(path: str, line: bytes) -> None:
    """Leave it for the daemon's next start."""
    with open(path, "ab") as pending:  # noqa: PTH123 - pathlib takes longer than all the rest
        if pending.tell() + len(line) < _PENDING_BYTES:
            pending.write(line + b"\n")


if __name__ == "__main__":
    try:  # noqa: SIM105 - contextlib would take longer than all the rest
        _report(sys.argv[1], sys.argv[2], generation=sys.argv[3], home=sys.argv[4], hook=sys.argv[5])
    except BaseException:  # noqa: BLE001, S110 - whatever happens, the assistant must not notice
        pass
