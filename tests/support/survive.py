"""Kill, freeze and look at what a host's daemon stands on; nothing here asks envmgr itself."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psutil

from envmgr.testing.audit import audit
from tests.support.host import Host
from tests.support.wait import eventually

_DAEMONS_OWN = ("daemon.sock", "tmux.sock")


def kill_daemon(host: Host) -> int:
    """SIGKILL, and wait until the kernel has taken it away; returns its pid."""
    pid = host.daemon_pid()
    assert pid is not None
    daemon = psutil.Process(pid)
    daemon.kill()
    eventually(lambda: not is_alive(pid))
    return pid


def daemon_is_gone(host: Host) -> bool:
    """Whether the daemon that ran last has ended; asks nobody, because asking would start the next one."""
    try:
        return not is_alive(int((host.state / "daemon.lock").read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return True


def is_alive(pid: int) -> bool:
    """Whether a process of this number runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def settled(host: Host, name: str, *, within_s: float = 20.0) -> Any:
    """The agent once nothing is under way."""
    at_rest = ("running", "error", "stopped")
    return agent_when(host, name, lambda agent: agent["lifecycle"] in at_rest, within_s=within_s)


def agent_when(host: Host, name: str, is_so: Callable[[Any], object], *, within_s: float = 10.0) -> Any:
    """The agent as soon as it is so."""

    def look() -> Any:
        agent = host.agent(name)
        assert is_so(agent), agent
        return agent

    return eventually(look, within_s=within_s, every_s=0.05)


def remains(host: Host) -> list[str]:
    """What agents have left, the worktree too: processes, sessions, sockets, worktrees, branches, held ports, files.

    The daemon, its tmux server and their sockets are no remains: they may live.
    """
    found = audit(host.state, repositories=[host.repo])
    spared = {str(host.daemon_pid()), *(str(p.pid) for p in tmux_processes(host))}
    return [
        *(f"{x.kind}: {x.what}" for x in found if x.what.split()[0] not in spared and not x.what.endswith(_DAEMONS_OWN)),
        *(f"session: {name}" for name in sessions(host)),
        *(f"branch: {name}" for name in host.branches() if name != "main"),
        *(f"held port: {port}" for port in held_ports(host)),
        *(f"file: {path.name}" for path in host.state.glob("agents/*/*") if path.name in ("env", "start.sh", "start.env")),
        *(f"note: {path.name}" for path in host.state.glob("locks/*/*%2F*")),
    ]  # fmt: skip


def tmux_processes(host: Host) -> list[psutil.Process]:
    """Server and clients on the host's socket."""
    return [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if (process.info["name"] or "").startswith("tmux")
        and str(host.state) in " ".join(process.info["cmdline"] or [])
    ]


def tmux(host: Host, *words: str) -> str:
    """What tmux answers on the host's socket; empty when there is no server."""
    done = subprocess.run(
        ["tmux", "-N", "-S", str(host.state / "tmux.sock"), *words],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    return done.stdout.strip()


def sessions(host: Host) -> list[str]:
    """Names of the sessions of agents."""
    names = tmux(host, "list-sessions", "-F", "#{session_name}").splitlines()
    return [name for name in names if not name.startswith("_")]


def tmux_server(host: Host) -> psutil.Process:
    """The server's process."""
    return psutil.Process(int(tmux(host, "display-message", "-p", "#{pid}")))


@contextmanager
def frozen(process: psutil.Process) -> Iterator[None]:
    """The process does not run inside this block."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        eventually(lambda: process.status() == psutil.STATUS_STOPPED)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)


def query(host: Host, sql: str) -> list[tuple[Any, ...]]:
    """Rows of the daemon's database, read beside it."""
    with closing(sqlite3.connect(f"file:{host.state / 'envmgr.db'}?mode=ro", uri=True)) as db:
        return db.execute(sql).fetchall()


def held_ports(host: Host) -> list[int]:
    """Ports that are leased and not given back."""
    return [port for (port,) in query(host, "SELECT port FROM lease WHERE held")]


def processes_of(host: Host, agent: Any, part: str = "") -> list[psutil.Process]:
    """Processes that carry the agent's marker (and that of one part), however far they ran."""
    wanted = {"ENVMGR_AGENT": agent["id"]} | ({"ENVMGR_PART": part} if part else {})
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            environ = process.environ()
            if all(environ.get(key) == value for key, value in wanted.items()):
                found.append(process)
    return found


def keeper_pid(host: Host, agent: Any) -> int:
    """The agent's keeper, from its own record."""
    record = json.loads((host.state / "agents" / agent["id"] / "keeper.json").read_text(encoding="utf-8"))
    return int(record["pid"])


def answers(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1.0).close()
        return True
    return False
