"""Commands inside of containers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import anyio

from envmgr.drivers.docker import stream, trouble
from envmgr.drivers.docker.calls import Calls, Client
from envmgr.drivers.docker.output import Frames
from envmgr.drivers.docker.pausing import Gate
from envmgr.errors import EnvmgrError

TIME_IS_UP = 124
"""Exit status for a command that was ended at its deadline, as timeout(1) has it."""

_KEPT_BYTES = 64 * 1024
_CLEAN_UP_S = 10.0
_DYING_S = 2.0
_PAUSE_S = 0.02


class Commands:
    """See `Engine`."""

    _calls: Calls
    _gate: Gate

    async def execute(
        self, container: str, argv: Sequence[str], *, deadline_s: float, env: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """See `Engine.execute`. Also a cancelled call ends its command."""
        async with self._gate.passed(container):
            return await self._execute(container, argv, deadline_s, env)

    async def _execute(
        self, container: str, argv: Sequence[str], deadline_s: float, env: Mapping[str, str] | None
    ) -> tuple[int, str]:
        what = f"running {argv[0]} in {container}"
        words = [f"{name}={value}" for name, value in (env or {}).items()]
        # Made, but not yet begun, it does nothing: so it may be given up like a look, in time for who waits.
        command: str = await self._calls.look(
            lambda client: client.exec_create(container, list(argv), environment=words)["Id"],
            what=what,
            deadline_s=deadline_s,
        )
        tail, status = bytearray(), None
        try:
            with anyio.move_on_after(deadline_s):
                await self._read(command, tail, what=what)
                status = await self._status(command)
        finally:
            remark = "" if status is not None else await self._end(container, command)
        said = tail.decode("utf-8", "replace")
        if status is None:
            return TIME_IS_UP, f"{said}{argv[0]} did not end within {deadline_s:g} s{remark}\n"
        return status, said

    async def _status(self, command: str) -> int:
        """Its exit status, once it has one: some programs close their output and go on."""
        while True:
            seen = await self._calls.look(
                lambda client: client.exec_inspect(command), what="looking at a command"
            )
            if not seen["Running"]:
                return int(seen["ExitCode"] or 0)
            await anyio.sleep(_PAUSE_S)

    async def _read(self, command: str, tail: bytearray, *, what: str) -> None:
        """Start it and gather the end of its output until it closes that."""
        body = json.dumps({"Detach": False, "Tty": False}).encode()
        headers = {"Content-Type": "application/json"}
        frames = Frames()
        try:
            async with stream.ask(
                self._calls, "POST", f"/exec/{quote(command)}/start", what=what, headers=headers, body=body
            ) as answer:
                async for chunk in answer.chunks():
                    for _, payload in frames.feed(chunk):
                        tail += payload
                        del tail[:-_KEPT_BYTES]
        except stream.Refused as refused:
            raise trouble.refusal(refused.status, refused.words, what=what) from refused

    async def _end(self, container: str, command: str) -> str:
        """Kill what still runs, although the engine has no call for that; a remark when that did not work."""
        with anyio.move_on_after(_CLEAN_UP_S, shield=True):
            try:
                return await self._calls.act(
                    lambda client: _kill(client, container, command),
                    what="ending a command that took too long",
                    deadline_s=_CLEAN_UP_S / 2,
                )
            except EnvmgrError as error:
                return f", and may still run in the container ({error.message})"
        return ", and may still run in the container"


def _kill(client: Client, container: str, command: str) -> str:
    seen = client.exec_inspect(command)
    if not seen["Running"]:
        return ""
    inside = _pid_inside(seen["Pid"], seen["ContainerID"])
    if inside is None:
        return f", and may still run in the container, as pid {seen['Pid']} of the engine's host"
    if not _kill_group(seen["Pid"]):
        script = f"kill -KILL -{inside} 2>/dev/null || kill -KILL {inside}"
        client.exec_start(client.exec_create(container, ["sh", "-c", script], user="0")["Id"])
    give_up_at = time.monotonic() + _DYING_S
    while time.monotonic() < give_up_at:
        if not client.exec_inspect(command)["Running"]:
            return ""
        time.sleep(_PAUSE_S)
    return f", and still runs as pid {seen['Pid']}"


def _pid_inside(pid: int, container: str) -> int | None:
    """The pid it has in its container (proc(5): NSpid). None when the process is none of this host's.

    The engine may run elsewhere, where the same number is another process: the cgroup must name the container.
    """
    folder = Path(f"/proc/{pid}")
    try:
        if pid <= 1 or container not in (folder / "cgroup").read_text(encoding="utf-8"):
            return None
        lines = (folder / "status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[-1]) for line in lines if line.startswith("NSpid:")), None)


def _kill_group(pid: int) -> bool:
    """Kill it from outside; False when we may not. The engine puts each command into a session of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
            return True
    return False
