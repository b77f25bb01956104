"""Services that follow files, in real agents."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.host import Host, git, host
from tests.support.requirements import proves
from tests.support.wait import eventually

_TEMPLATE = """\
envmgr: 1
services:
  api:
    command: 'echo start >>{logs}/api; exec sleep 1000'
    watch: {{paths: [src, .env], exclude: ["*.md"], debounce: 100ms}}
    restart: {{policy: on-failure, budget: 1/10m}}
  worker:
    command: 'echo start >>{logs}/worker; exec sleep 1000'
    depends_on: [api]
  config:
    command: "trap 'echo hup >>{logs}/config' HUP; echo start >>{logs}/config; while :; do sleep 0.05; done"
    watch: {{paths: settings.ini, action: signal, signal: SIGHUP}}
  docs:
    command: 'exec sleep 1000'
    watch: {{paths: docs, action: exec, command: 'cat docs/page >>{logs}/docs'}}
agent: {{kind: command, command: [sleep, '1000']}}
"""


@pytest.fixture(scope="module")
def here() -> Iterator[Host]:
    with host() as made:
        made.ok("daemon", "start")
        yield made


def spawn(here: Host, name: str, text: str = _TEMPLATE) -> tuple[Path, Path]:
    """Worktree, and the folder in which services write what they did."""
    logs = here.state.parent / f"done-{name}"
    logs.mkdir()
    here.template(name, text.format(logs=logs))
    here.ok("spawn", "-t", name, "--name", name)
    worktree = Path(here.agent(name)["worktree"])
    return worktree, logs


def lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def changed(here: Host, agent: str, kind: str = "watch.changed") -> list[Any]:
    return [e["data"] for e in here.events(agent) if e["kind"] == kind]


def wait_for_watch(here: Host, worktree: Path, agent: str) -> None:
    """The watch begins when the agent runs; the first thing it sees proves that."""
    before = len(changed(here, agent))
    marker = worktree / "docs"
    marker.mkdir(exist_ok=True)

    def seen() -> bool:
        (marker / "page").write_text(".\n", encoding="utf-8")
        return len(changed(here, agent)) > before

    eventually(seen, within_s=15)


@proves("FOLLOW-002", "FOLLOW-006")
def test_changes_restart_signal_and_run_commands(here: Host) -> None:
    worktree, logs = spawn(here, "follow")
    wait_for_watch(here, worktree, "follow")

    (worktree / "src").mkdir()
    for number in range(5):
        (worktree / "src" / f"{number}.py").write_text("x", encoding="utf-8")
    eventually(lambda: len(lines(logs / "api")) == 2, within_s=10)
    (worktree / "src" / "notes.md").write_text("x", encoding="utf-8")
    (worktree / "settings.ini").write_text("a=1", encoding="utf-8")
    eventually(lambda: lines(logs / "config")[-1] == "hup", within_s=10)
    (worktree / "docs" / "page").write_text("a page\n", encoding="utf-8")
    eventually(lambda: lines(logs / "docs")[-1:] == ["a page"], within_s=10)

    for _ in range(2):  # more often than its budget allows
        known = len(lines(logs / "api"))
        (worktree / ".env").write_text(f"A={known}", encoding="utf-8")
        eventually(partial(_has_lines, logs / "api", known + 1), within_s=10)
    assert lines(logs / "worker") == ["start"]
    assert len(lines(logs / "config")) == 2
    eventually(lambda: {s["state"] for s in here.agent("follow")["services"]} == {"ready"}, within_s=10)


def _has_lines(path: Path, count: int) -> bool:
    return len(lines(path)) == count


@proves("FOLLOW-003")
def test_git_operations_are_waited_for_and_followed_once(here: Host) -> None:
    worktree, logs = spawn(here, "rebasing")
    wait_for_watch(here, worktree, "rebasing")
    folder = Path(git(worktree, "rev-parse", "--absolute-git-dir").strip())
    (folder / "rebase-merge").mkdir()
    (worktree / "src").mkdir()
    for number in range(3):
        (worktree / "src" / f"{number}.py").write_text("x", encoding="utf-8")
        (worktree / "docs" / "page").write_text(f"{number}\n", encoding="utf-8")
        here.ok("ls")
    assert lines(logs / "api") == ["start"]
    (folder / "rebase-merge").rmdir()
    eventually(lambda: len(lines(logs / "api")) == 2, within_s=10)
    git(worktree, "add", "-A")
    git(worktree, "commit", "-q", "-m", "work")
    assert len([d for d in changed(here, "rebasing") if d["service"] == "api"]) == 1


_LOOP = """\
envmgr: 1
services:
  loop:
    command: 'mkdir -p out; date +%N >out/stamp; exec sleep 1000'
    watch: {{paths: out, action: exec, command: 'date +%N >out/stamp', debounce: 50ms}}
agent: {{kind: command, command: [sleep, '1000']}}
"""


@proves("FOLLOW-004")
def test_a_service_that_writes_what_it_watches_is_let_be_with_an_event(here: Host) -> None:
    worktree, _ = spawn(here, "loop", _LOOP)

    def suspended() -> bool:
        (worktree / "out" / "start").touch()
        return bool(changed(here, "loop", "watch.suspended"))

    eventually(suspended, within_s=30)
    assert len(changed(here, "loop")) == 10


_CASCADE = """\
envmgr: 1
services:
  api:
    command: 'echo start >>{logs}/api; exec sleep 1000'
    watch: {{paths: src, cascade: true, debounce: 100ms}}
  web:
    command: 'echo start >>{logs}/web; exec sleep 1000'
    depends_on: [api]
  docs:
    command: 'exec sleep 1000'
    watch: {{paths: docs, action: exec, command: 'true'}}
agent: {{kind: command, command: [sleep, '1000']}}
"""


@proves("FOLLOW-006")
def test_dependants_follow_where_the_template_says_so(here: Host) -> None:
    worktree, logs = spawn(here, "cascade", _CASCADE)
    wait_for_watch(here, worktree, "cascade")
    (worktree / "src").mkdir()
    eventually(lambda: [len(lines(logs / name)) for name in ("api", "web")] == [2, 2], within_s=10)
