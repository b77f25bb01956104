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


@dataclass
class Trial:
    """An agent `a` with work in its worktree; `row` becomes a line of the matrix."""

    host: Host
    agent: Any
    bystander: frozenset[int]
    row: dict[str, str]
    _struck_at: float = 0.0
    _before: dict[str, Any] = field(default_factory=dict)

    @property
    def worktree(self) -> Path:
        """Of the agent."""
        return Path(self.agent["worktree"])

    def struck(self) -> None:
        """The fault is in: the clock runs."""
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
        self.row["recovery_s"] = f"{time.monotonic() - self._struck_at:.1f}"
        self.row["outcome"] = outcome

    def lost(self, what: str) -> None:
        """What the fault has cost, for people; without it nothing."""
        self.row["lost"] = what

    def assert_whole(self, *, worktree: bool = True) -> None:
        """No work lost, nothing twice, nothing foreign touched."""
        if worktree:
            assert (self.worktree / "notes.txt").read_text(encoding="utf-8") == WORK
        assert "the agent's own commit" in git(self.host.repo, "log", "--format=%s", self.agent["branch"])
        for service in ("web",):
            found = processes_of(self.host, self.agent, part=f"service:{service}")
            assert len(_leaders(found)) <= 1, found
        assert len(_leaders(processes_of(self.host, self.agent, part="assistant"))) <= 1
        assert len(sessions(self.host)) <= 1
        assert {pid for pid in self.bystander if psutil.pid_exists(pid)} == set(self.bystander)


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
def trial(
    request: pytest.FixtureRequest, bystander: frozenset[int], fault: str, template: str = WORLD, **env: str
) -> Iterator[Trial]:
    """A host of its own for one fault; at the end the agent is removed, and nothing of it may be left.

    Args:
        env: Environment of its commands and its daemon.
    """
    row = {"fault": fault, "outcome": "", "recovery_s": "", "lost": "nothing"}
    # A busy test machine is no reason to wait here: these tests are about what follows.
    with host(**{"ENVMGR_HEALTH__OVERLOAD_PER_CPU": "0", **env}) as here:
        tried = Trial(host=here, agent=begin(here, template), bystander=bystander, row=row)
        yield tried
        tried.assert_whole(worktree=Path(tried.agent["worktree"]).exists())
        here.ok("rm", "a", "--stop", "--yes", "--discard", "a")
        eventually(lambda: remains(here) == [], within_s=15)
    request.node.user_properties.append(("fault", row))
