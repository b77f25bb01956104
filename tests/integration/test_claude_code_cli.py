"""The real Claude Code CLI against the scripted model: no account, no network, nothing simulated but the model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from envmgr.assistants import claude_config
from envmgr.assistants.claude_code import ClaudeCodeAssistant
from envmgr.model.agent import Activity
from envmgr.model.spec import AssistantSpec
from tests.support.claude import API_KEY, Session, claude_path, claude_session
from tests.support.model import ScriptedModel, scripted_model
from tests.support.report_listener import listening
from tests.support.requirements import proves
from tests.support.wait import eventually

READY, WORKING, AWAITING = Activity.READY, Activity.WORKING, Activity.AWAITING_INPUT
START_S = 20.0

Begin = Callable[..., Session]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedModel]:
    with scripted_model(tmp_path_factory.mktemp("model")) as running:
        yield running


@pytest.fixture
def begin(tmp_path: Path, model: ScriptedModel) -> Iterator[Begin]:
    """Start sessions in worktrees of one repository and one fresh home."""
    home, main = tmp_path / "home", tmp_path / "main"
    home.mkdir()
    git("init", "-q", str(main))
    git("-C", str(main), "commit", "-q", "--allow-empty", "-m", "first")
    env = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "ANTHROPIC_BASE_URL": model.url,
        "ANTHROPIC_API_KEY": API_KEY,
    }
    with ExitStack() as stack:

        def start(name: str = "a1", mode: str = "acceptEdits") -> Session:
            folder, worktree = tmp_path / name, tmp_path / "trees" / name
            folder.mkdir()
            git("-C", str(main), "worktree", "add", "-q", str(worktree))
            heard = stack.enter_context(listening(folder / "socket"))
            spec = AssistantSpec(kind="claude_code", command=claude_path(), permission_mode=mode)
            running: AbstractContextManager[Session] = claude_session(
                folder, name=name, heard=heard, env=env, spec=spec, worktree=worktree
            )
            return stack.enter_context(running)

        yield start


def git(*words: str) -> None:
    subprocess.run(["git", *words], check=True, timeout=30)


def prompt(session: Session, text: str) -> None:
    """Submit a prompt when the input box is there, as the daemon does."""
    eventually(lambda: seen(session) is READY, within_s=START_S)
    session.paste(text)
    eventually(lambda: text in session.screen())
    session.keys("Enter")


def answer(session: Session, key: str) -> None:
    """Press a key until the dialog is gone: in its first moments a dialog takes none, lest a typist approve it."""

    def is_gone() -> bool:
        session.keys(key)
        return seen(session) is not AWAITING

    eventually(is_gone, every_s=0.5)


def below(pid: int, command: list[str]) -> list[psutil.Process]:
    """Descendants that run exactly this command."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found += [process] if process.cmdline() == command else []
    return found


def seen(session: Session) -> Activity | None:
    return ClaudeCodeAssistant().read_screen(session.screen()).activity


def until(session: Session, *activities: Activity) -> None:
    """Wait until the hooks have meant exactly these, in this order."""
    eventually(lambda: session.activities() == list(activities), within_s=START_S)


@proves("ASSIST-040", "R-23")
def test_it_starts_in_a_fresh_home_without_a_question_and_edits_a_file(begin: Begin) -> None:
    session = begin()
    until(session, READY)

    prompt(session, "SCN=edit")

    until(session, READY, WORKING, READY)
    hello = session.place.worktree / "hello.py"
    assert hello.read_text(encoding="utf-8") == "print('hello from agent')\n"
    assert session.hooks() == ["SessionStart", "UserPromptSubmit", "PreToolUse", "PostToolUse", "Stop"]
    assert "DONE-EDIT" in session.screen()


@proves("ASSIST-040")
def test_a_permission_question_is_reported_at_once_and_its_answer_too(begin: Begin) -> None:
    session = begin(mode="default")
    prompt(session, "SCN=touch")
    until(session, READY, WORKING, AWAITING)
    eventually(lambda: seen(session) is AWAITING)
    assert not (session.place.worktree / "made-by-shell.txt").exists()

    answer(session, "Enter")

    until(session, READY, WORKING, AWAITING, WORKING, READY)
    assert (session.place.worktree / "made-by-shell.txt").exists()
    assert session.hooks()[-3:] == ["PermissionRequest", "PostToolUse", "Stop"]


@proves("ASSIST-041")
def test_escape_is_silent_and_seen_on_the_screen(begin: Begin) -> None:
    session = begin()
    prompt(session, "SCN=slow")
    until(session, READY, WORKING)
    eventually(lambda: "tokens)" in session.screen())
    assert seen(session) is WORKING

    session.keys("Escape")

    eventually(lambda: seen(session) is READY)
    assert ClaudeCodeAssistant().read_screen(session.screen()).detail == "screen: interrupted"
    assert session.activities() == [READY, WORKING]


@proves("ASSIST-041")
def test_a_refused_permission_is_silent_and_seen_on_the_screen(begin: Begin) -> None:
    session = begin(mode="default")
    prompt(session, "SCN=touch")
    until(session, READY, WORKING, AWAITING)
    eventually(lambda: seen(session) is AWAITING)

    answer(session, "Escape")

    eventually(lambda: seen(session) is READY)
    assert session.activities() == [READY, WORKING, AWAITING]


@proves("ASSIST-040")
def test_a_turn_that_ends_before_its_subagent_is_still_work(begin: Begin) -> None:
    session = begin()

    prompt(session, "SCN=subagent")

    until(session, READY, WORKING, READY)
    eventually(lambda: "SubagentStop" in session.hooks())
    assert session.hooks().index("Stop") < session.hooks().index("SubagentStop")


@proves("ASSIST-040")
def test_a_refusal_of_the_model_ends_the_turn_with_its_reason(begin: Begin) -> None:
    session = begin()

    prompt(session, "SCN=e402")

    until(session, READY, WORKING, READY)
    last = session.heard[-1]
    assert (
        "session spending cap of $5.00 reached"
        in ClaudeCodeAssistant().understand(last.hook, last.payload).detail
    )


@proves("ASSIST-040")
@pytest.mark.parametrize("keys", [("/exit", "Enter"), ("C-c", "C-c")])
def test_it_ends_by_its_own_keys(begin: Begin, keys: tuple[str, str]) -> None:
    session = begin()
    eventually(lambda: seen(session) is READY, within_s=START_S)

    session.keys(keys[0])
    eventually(lambda: "/exit" in session.screen() or "again to exit" in session.screen())
    session.keys(keys[1])

    eventually(session.has_ended)
    assert [r.payload["reason"] for r in session.heard if r.hook == "SessionEnd"] == ["prompt_input_exit"]


@proves("ASSIST-040")
def test_term_ends_it_together_with_the_shell_it_runs(begin: Begin) -> None:
    session = begin(mode="acceptEdits")
    prompt(session, "SCN=slow_tool")
    [sleep] = eventually(lambda: below(session.pid(), ["sleep", "8"]))

    os.kill(session.pid(), signal.SIGTERM)

    eventually(session.has_ended)
    eventually(lambda: not sleep.is_running())
    assert session.hooks()[-1] == "SessionEnd"


@proves("ASSIST-042", "ASSIST-003")
def test_sessions_that_start_and_run_together_lose_no_trust(begin: Begin, tmp_path: Path) -> None:
    file = tmp_path / "home" / ".claude.json"
    trees = [Path(f"/trees/{number}") for number in range(20)]

    with ThreadPoolExecutor(4) as pool:
        edits = [pool.submit(claude_config.admit, file, tree, api_key=None) for tree in trees]
        sessions = [begin(f"a{number}") for number in range(4)]
        for session in sessions:
            until(session, READY)
        for edit in edits:
            edit.result(timeout=30)
    for session in sessions:
        prompt(session, "/exit")
        eventually(session.has_ended)

    trusted = json.loads(file.read_text(encoding="utf-8"))["projects"]
    expected = {str(tree) for tree in [*trees, *[session.place.worktree for session in sessions]]}
    assert expected <= {path for path, project in trusted.items() if project.get("hasTrustDialogAccepted")}
    for session in sessions:
        ClaudeCodeAssistant().forget(AssistantSpec(kind="claude_code"), session.place)
    left = json.loads(file.read_text(encoding="utf-8"))["projects"]
    assert not {str(session.place.worktree) for session in sessions} & set(left)
