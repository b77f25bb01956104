"""The real Claude Code CLI in a terminal of the test's own, held against the scripted model."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from envmgr.assistants.claude_code import ClaudeCodeAssistant
from envmgr.assistants.hooks import hook_command
from envmgr.model.agent import Activity
from envmgr.model.spec import AssistantSpec
from envmgr.protocols.assistant import Place
from tests.support.report_listener import Heard
from tests.support.requirements import ROOT

_CACHED = ROOT / ".cache" / "claude" / "node_modules" / ".bin" / "claude"
API_KEY = "sk-test-0123456789abcdefghij"


def claude_path() -> str:
    """Path of the CLI that scripts/test has installed."""
    path = os.environ.get("ENVMGR_TEST_CLAUDE") or str(_CACHED)
    assert os.access(path, os.X_OK), (
        f"Claude Code is not at {path}: run scripts/setup, or set ENVMGR_TEST_CLAUDE"
    )
    return path


@dataclass(kw_only=True)
class Session:
    """One Claude Code in one pane."""

    tmux: tuple[str, ...]
    heard: list[Heard]
    place: Place
    started_at: float = field(default_factory=time.time)

    def screen(self) -> str:
        return self._run("capture-pane", "-p", "-t", "agent")

    def paste(self, text: str) -> None:
        """Paste as one block, and submit once it is shown."""
        self._run("load-buffer", "-b", "prompt", "-", stdin=text)
        self._run("paste-buffer", "-p", "-r", "-d", "-b", "prompt", "-t", "agent")

    def keys(self, *names: str) -> None:
        self._run("send-keys", "-t", "agent", *names)

    def pid(self) -> int:
        return int(self._run("display-message", "-p", "-t", "agent", "#{pane_pid}"))

    def has_ended(self) -> bool:
        # Not its exit status: tmux 3.3a sometimes never learns it, when the terminal closes before the process is reaped.
        return self._run("display-message", "-p", "-t", "agent", "#{pane_dead}").strip() == "1"

    def hooks(self) -> list[str]:
        return [report.hook for report in list(self.heard)]

    def activities(self) -> list[Activity]:
        """What the hooks have meant so far, without repetitions."""
        meant = [ClaudeCodeAssistant().understand(r.hook, r.payload).activity for r in list(self.heard)]
        told = [activity for activity in meant if activity is not None]
        return [a for i, a in enumerate(told) if i == 0 or told[i - 1] is not a]

    def _run(self, *words: str, stdin: str = "") -> str:
        command = [*self.tmux, *words]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=True, timeout=10
        ).stdout


@contextmanager
def claude_session(
    folder: Path,
    *,
    name: str,
    heard: list[Heard],
    env: Mapping[str, str],
    spec: AssistantSpec,
    worktree: Path,
) -> Iterator[Session]:
    """Prepare and start it in `worktree`, with `folder` as its private folder and the socket's."""
    hook = hook_command(sys.executable, folder / "socket", agent=name, generation=1, home=folder)
    place = Place(worktree=worktree, home=folder, env=env, hook_command=hook)
    start = ClaudeCodeAssistant().prepare(spec, place)
    tmux = ("tmux", "-S", str(folder / "tmux"), "-f", "/dev/null")
    words = [f"{key}={value}" for key, value in {**env, **start.env}.items()]
    line = "exec " + shlex.join(["/usr/bin/env", "-i", "TERM=tmux-256color", *words, *start.argv])
    options = ["set-option", "-g", "remain-on-exit", "on", ";", "set-option", "-g", "exit-empty", "off", ";"]
    new = ["new-session", "-d", "-s", "agent", "-x", "110", "-y", "36", "-c", str(worktree), line]
    subprocess.run([*tmux, "start-server", ";", *options, *new], check=True, timeout=10)
    session = Session(tmux=tmux, heard=heard, place=place)
    try:
        yield session
    finally:
        subprocess.run([*tmux, "kill-server"], check=False, timeout=10)
