"""Recorded screens of Codex 0.169.0, Gemini CLI 0.61.0 and opencode 1.18.33."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmgr.assistants.codex import CodexAssistant
from envmgr.assistants.gemini import GeminiAssistant
from envmgr.assistants.opencode import OpencodeAssistant
from envmgr.model.agent import Activity
from envmgr.protocols.assistant import Assistant
from tests.support.requirements import proves

READY, WORKING, AWAITING = Activity.READY, Activity.WORKING, Activity.AWAITING_INPUT
SCREENS = Path(__file__).parent / "screens"
READERS: dict[str, Assistant] = {
    "codex": CodexAssistant(),
    "gemini": GeminiAssistant(),
    "opencode": OpencodeAssistant(),
}


def recorded(kind: str, name: str) -> str:
    return (SCREENS / kind / f"{name}.txt").read_text(encoding="utf-8")


@proves("CLIENT-023", "R-25")
@pytest.mark.parametrize(
    ("kind", "name", "activity", "detail"),
    [
        ("codex", "ready", READY, "input line"),
        ("codex", "done", READY, "input line"),
        ("codex", "ready_after_hello", READY, "input line"),
        ("codex", "interrupted", READY, "Conversation interrupted"),
        ("codex", "permission_refused", READY, "Conversation interrupted"),
        ("codex", "error", READY, "unexpected status 402"),
        ("codex", "retrying", WORKING, "esc to interrupt"),
        ("codex", "working_tool", WORKING, "esc to interrupt"),
        ("codex", "permission_dialog", AWAITING, "permission dialog: Would you like to run the following"),
        ("codex", "trust_dialog", AWAITING, "trust dialog"),
        ("codex", "hooks_review", AWAITING, "hooks dialog"),
        ("codex", "login", AWAITING, "login"),
        ("gemini", "ready", READY, "input line"),
        ("gemini", "done", READY, "input line"),
        ("gemini", "error", READY, "[API Error"),
        ("gemini", "interrupted", READY, "interrupted"),
        ("gemini", "permission_refused", READY, "interrupted"),
        ("gemini", "working_streaming", WORKING, "esc to cancel"),
        ("gemini", "permission_dialog_shell", AWAITING, "permission dialog: Allow execution of [Shell]?"),
        ("gemini", "permission_dialog_edit", AWAITING, "permission dialog: Apply this change?"),
        ("gemini", "login", AWAITING, "login"),
        ("opencode", "ready", READY, "input box"),
        ("opencode", "done", READY, "input box"),
        ("opencode", "error", READY, "input box"),
        ("opencode", "interrupted", READY, "input box"),
        ("opencode", "permission_refused", READY, "input box"),
        ("opencode", "working_streaming", WORKING, "esc interrupt"),
        ("opencode", "working_tool", WORKING, "esc interrupt"),
        ("opencode", "escape_once", WORKING, "esc interrupt"),
        ("opencode", "permission_dialog_shell", AWAITING, "permission dialog"),
        ("opencode", "permission_dialog_edit", AWAITING, "permission dialog"),
    ],
)
def test_a_recorded_screen_is_read(kind: str, name: str, activity: Activity, detail: str) -> None:
    report = READERS[kind].read_screen(recorded(kind, name))

    assert report.activity is activity
    assert report.detail.startswith(f"screen: {detail}")


@proves("DISPATCH-005")
@pytest.mark.parametrize(
    ("kind", "name", "fails"),
    [
        ("codex", "error", "unexpected status 402"),
        ("codex", "interrupted", ""),  # whoever did that says how it goes on
        ("codex", "done", ""),
        ("gemini", "error", "[API Error"),
        ("gemini", "interrupted", "interrupted"),  # of which its hook says that the turn is done
        ("gemini", "done", ""),
        ("gemini", "ready", ""),
    ],
)
def test_a_screen_says_that_a_turn_came_to_nothing(kind: str, name: str, fails: str) -> None:
    failure = READERS[kind].read_screen(recorded(kind, name)).fails

    assert failure.startswith(fails)
    assert bool(failure) == bool(fails)


@proves("CLIENT-023")
def test_codex_looks_ready_while_it_streams_and_nothing_is_said_then() -> None:
    assert CodexAssistant().read_screen(recorded("codex", "working_streaming")).activity is None


@proves("CLIENT-023")
@pytest.mark.parametrize("kind", sorted(READERS))
@pytest.mark.parametrize("screen", ["", "\n\n", "$ ls\nfoo bar", "> quoted text\n" * 3 + "a\nb\nc\nd\ne"])
def test_an_unknown_screen_says_nothing(kind: str, screen: str) -> None:
    assert READERS[kind].read_screen(screen).activity is None
