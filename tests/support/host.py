"""A host of its own for a test: state directory, repository, daemon, and the real command line."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TextIO

from envmgr.testing.audit import audit
from tests.support import docker
from tests.support.wait import eventually

_DEADLINE_S = 60.0
# What a stopped agent keeps until it is removed.
_MAY_STAY = ("worktree", "volume", "image")
SLEEPER = "envmgr: 1\nname: {name}\nagent:\n  kind: command\n  command: [sleep, '1000']\n"


@dataclass(frozen=True)
class Ran:
    """One command line and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The only line of stdout, as JSON."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Each line of stdout as JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Host:
    """Run `envmgr` as people do. `env` is added to every command's environment (and the daemon's, if it starts it)."""

    state: Path
    repo: Path
    env: dict[str, str] = field(default_factory=dict)

    def environment(self, **more: str) -> dict[str, str]:
        """What commands see."""
        ours = {"ENVMGR_STATE_DIR": str(self.state), "ENVMGR_VALIDATE": "1", **_own_ports()}
        # Tests keep a machine busy; only those about that let it be an excuse.
        ours["ENVMGR_HEALTH__OVERLOAD_PER_CPU"] = "0"
        return {**os.environ, **ours, **self.env, **more}

    def run(
        self, *args: str, cwd: Path | None = None, stdin: str = "", env: Mapping[str, str] | None = None
    ) -> Ran:
        """Run to the end; never raises for a failing status."""
        done = subprocess.run(
            [sys.executable, "-m", "envmgr", *args],
            cwd=cwd or self.repo,
            env=self.environment(**(env or {})),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def ok(self, *args: str, cwd: Path | None = None, stdin: str = "") -> Ran:
        """Run, and fail the test unless it succeeds."""
        ran = self.run(*args, cwd=cwd, stdin=stdin)
        assert ran.code == 0, (
            f"envmgr {' '.join(args)} exited {ran.code}\n{ran.out}\n{ran.err}\n{self.daemon_log()}"
        )
        return ran

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Run in the background, in its own process group; the test waits for it."""
        return subprocess.Popen(
            [sys.executable, "-m", "envmgr", *args],
            cwd=self.repo,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def agents(self) -> dict[str, Any]:
        """`envmgr ls --json` by name."""
        return {agent["name"]: agent for agent in self.ok("ls", "--json").json["agents"]}

    def agent(self, name: str) -> Any:
        """One agent, as `envmgr show --json` tells it."""
        return self.ok("show", name, "--json").json

    def events(self, *args: str) -> list[Any]:
        """`envmgr events --json`."""
        return self.ok("events", "--json", "--limit", "10000", *args).lines

    def daemon_pid(self) -> int | None:
        """Of the running daemon."""
        pid = self.run("daemon", "status", "--json").json["pid"]
        return int(pid) if pid else None

    def daemon_log(self) -> str:
        """The end of the daemon's log."""
        log = self.state / "daemon.log"
        return log.read_text(encoding="utf-8")[-4000:] if log.exists() else "no daemon log"

    def template(self, name: str, text: str) -> None:
        """Write a template into the repository."""
        path = self.repo / ".envmgr" / "templates" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def sleeper(self, name: str = "sleeper") -> None:
        """A template without services whose assistant sleeps."""
        self.template(name, SLEEPER.format(name=name))

    def branches(self) -> list[str]:
        """Local branches of the repository."""
        return git(self.repo, "for-each-ref", "--format=%(refname:short)", "refs/heads").splitlines()

    def worktrees(self) -> list[str]:
        """Registered worktrees, the main checkout not counted."""
        lines = git(self.repo, "worktree", "list", "--porcelain").splitlines()
        return [line.split(" ", 1)[1] for line in lines if line.startswith("worktree ")][1:]

    def leftovers(self) -> list[str]:
        """What the leak audit finds in the state directory and the repository."""
        return [f"{found.kind}: {found.what}" for found in audit(self.state, repositories=[self.repo])]

    def end(self) -> None:
        """Stop all agents and the daemon; then nothing may be left."""
        if (self.state / "envmgr.db").exists():
            self.ok("down", "--agents")
            eventually(lambda: self.daemon_pid() is None, within_s=30)


def _own_ports() -> dict[str, str]:
    """A thousand ports for this worker, so that tests side by side, also of other runs, do not take each other's."""
    first = 12000 + 1000 * _own_share()  # to 31999: ephemeral ones begin at 32768
    return {"ENVMGR_PORTS__FIRST": str(first), "ENVMGR_PORTS__LAST": str(first + 999)}


@cache
def _own_share() -> int:
    """One of twenty, locked for as long as this process lives."""
    for share in range(20):
        lock = (Path(tempfile.gettempdir()) / f"envmgr-test-ports-{os.getuid()}-{share}").open("w")
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _shares.append(lock)
            return share
        lock.close()
    raise AssertionError("twenty test runs are under way: no ports are left")


_shares: list[TextIO] = []


def git(repo: Path, *args: str) -> str:
    """Run git and return what it prints."""
    done = subprocess.run(["git", *args], cwd=repo, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"git {args}: {done.stderr}"
    return done.stdout


def new_repo(path: Path, files: Mapping[str, str] | Sequence[str] = ("index.html",)) -> Path:
    """A repository with one commit."""
    path.mkdir(parents=True)
    git(path, "init", "-q", "-b", "main")
    contents = files if isinstance(files, Mapping) else {name: f"{name}\n" for name in files}
    for name, text in contents.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text, encoding="utf-8")
    git(path, "add", "-A")
    git(path, "commit", "-q", "-m", "first", "--allow-empty")
    return path


@contextmanager
def host(below: Path | None = None, /, **env: str) -> Iterator[Host]:
    """A fresh host in a short folder (socket paths are limited); ended and checked for leaks on leaving.

    Args:
        below: Where that folder is, for tests of disks; else among the temporary files.
    """
    folder = Path(tempfile.mkdtemp(prefix="eh-", dir=below))
    here = Host(state=folder / "s", repo=new_repo(folder / "repo"), env=dict(env))
    try:
        try:
            yield here
        except BaseException:
            with suppress(Exception):  # what went wrong in the test is the news
                here.end()
            raise
        here.end()
        left = [x for x in here.leftovers() if not x.startswith(_MAY_STAY)]
        assert not left, left
    finally:
        _kill_left(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _kill_left(folder: Path) -> None:
    """What a failed test could not end must not disturb the next one."""
    for found in audit(folder):
        if found.kind in ("process", "tmux"):
            with suppress(ProcessLookupError):
                os.kill(int(found.what.split()[0]), signal.SIGKILL)
        if found.kind in ("container", "network", "volume", "image"):
            docker.remove(found.kind, found.what.split()[0])
