"""One agent at work, one fault, and what has to be true afterwards whatever the fault was.

Every test in `test_faults*.py` is a row of the fault matrix: it strikes, waits until all is well (or explained) again, and
the row is printed by `scripts/test --chaos` and kept in docs/reference/faults.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from tests.support.host import Host, git, host
from tests.support.survive import agent_when, processes_of, remains, sessions
from tests.support.wait import eventually

T = TypeVar("T")

# Numbers are short, so that a matrix of thirty faults takes minutes; the rules are the same.
WORLD = """
envmgr: 1
services:
  web:
    command: exec python3 -m http.server $PORT --bind 127.0.0.1
    ports: [http]
    ready: {http: {port: http}, period: 300ms}
    restart: {initial: 100ms}
agent: {kind: command, command: [sleep, '100000']}
recovery: {stabilize: 500ms, delays: {session: 100ms, realloc: 100ms, respawn: 100ms}}
"""
WORK = "not committed, and worth a day"
# A busy test machine is no reason to wait here; and nothing is too young to be told as a leak, or reaped unasked.
_QUIET = {
    "ENVMGR_HEALTH__OVERLOAD_PER_CPU": "0",
    "ENVMGR_REAPER__YOUNG_S": "0",
    "ENVMGR_REAPER__FIRST_S": "3600",
}


@dataclass
class Trial:
    """An agent `a` with work in its worktree, and what became of it.

    Attributes:
        bystander: Processes of another installation, which live on.
        outcome: For people, like `lost`, which is what the fault has cost.
    """

    host: Host
    agent: Any
    bystander: frozenset[int]
    outcome: str = ""
    recovery_s: str = ""
    lost: str = "nothing"
    _struck_at: float = field(default_factory=time.monotonic)

    @property
    def worktree(self) -> Path:
        """Of the agent."""
        return Path(self.agent["worktree"])

    def struck(self) -> None:
        """The fault is in, or over if it lasts: the clock runs."""
        self._struck_at = time.monotonic()

    def well_again(
        self, is_so: Callable[[Any], object] | None = None, *, outcome: str, within_s: float = 30.0
    ) -> Any:
        """Until the agent runs, with all its services ready and no recovery under way, and `is_so`; notes how long it took."""

        def is_well(agent: Any) -> bool:
            if is_so is not None:
                assert is_so(agent), agent
            assert agent["lifecycle"] == "running", agent
            assert all(s["state"] in ("ready", "done") for s in agent["services"]), agent
            assert not any(c["type"] in ("Recovering", "NeedsAttention") for c in agent["conditions"]), agent
            return True

        self.agent = agent_when(self.host, "a", is_well, within_s=within_s)
        self._note(outcome)
        return self.agent

    def until(self, is_so: Callable[[], T], *, outcome: str, within_s: float = 30.0) -> T:
        """Until something else is true; notes how long it took."""
        found = eventually(is_so, within_s=within_s)
        self._note(outcome)
        return found

    def _note(self, outcome: str) -> None:
        self.recovery_s, self.outcome = f"{time.monotonic() - self._struck_at:.1f}", outcome

    def assert_whole(self) -> None:
        """No work lost, nothing twice, nothing foreign touched, nothing leaked."""
        assert (self.worktree / "notes.txt").read_text(encoding="utf-8") == WORK
        assert "the agent's own commit" in git(self.host.repo, "log", "--format=%s", self.agent["branch"])
        parts = ("assistant", *(f"service:{service['name']}" for service in self.agent["services"]))
        for part in parts:
            found = processes_of(self.host, self.agent, part=part)
            assert len(_leaders(found)) <= 1, found
        assert len(sessions(self.host)) <= 1
        assert {pid for pid in self.bystander if psutil.pid_exists(pid)} == set(self.bystander)
        self.host.ok("audit-resources")


def _leaders(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those whose parent is not among them."""
    pids = {process.pid for process in processes}
    return [process for process in processes if process.ppid() not in pids]


def begin(here: Host, template: str = WORLD) -> Any:
    """An agent named `a` with a commit and an uncommitted file."""
    here.template("world", template)
    here.ok("spawn", "-t", "world", "--name", "a")
    agent = agent_when(here, "a", lambda a: all(s["state"] in ("ready", "done") for s in a["services"]))
    worktree = Path(agent["worktree"])
    (worktree / "done.txt").write_text("done\n", encoding="utf-8")
    git(worktree, "add", "done.txt")
    git(worktree, "commit", "-q", "-m", "the agent's own commit")
    (worktree / "notes.txt").write_text(WORK, encoding="utf-8")
    return agent


@contextmanager
def at_work(
    bystander: frozenset[int], template: str = WORLD, below: Path | None = None, /, **env: str
) -> Iterator[Trial]:
    """A host of its own with an agent; at the end nothing is leaked, the agent is removed, and nothing of it is left.

    Args:
        below: Folder that holds state, repository and worktrees.
        env: Environment of its commands and its daemon.
    """
    with host(below, **{**_QUIET, **env}) as here:
        tried = Trial(host=here, agent=begin(here, template), bystander=bystander)
        yield tried
        tried.assert_whole()
        here.ok("rm", "a", "--stop", "--yes", "--discard", "a")
        eventually(lambda: remains(here) == [], within_s=15)


@contextmanager
def trial(
    request: pytest.FixtureRequest,
    bystander: frozenset[int],
    fault: str,
    template: str = WORLD,
    below: Path | None = None,
    /,
    **env: str,
) -> Iterator[Trial]:
    """The same as a line of the fault matrix."""
    with at_work(bystander, template, below, **env) as tried:
        yield tried
    row = {"fault": fault, "outcome": tried.outcome, "recovery_s": tried.recovery_s, "lost": tried.lost}
    request.node.user_properties.append(("fault", row))
