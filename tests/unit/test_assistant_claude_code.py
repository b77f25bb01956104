from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from envmgr.assistants.claude_code import ClaudeCodeAssistant
from envmgr.assistants.claude_hooks import HOOKS
from envmgr.errors import ConfigError, Unavailable
from envmgr.model.agent import Activity
from envmgr.model.spec import AssistantSpec
from envmgr.protocols.assistant import Place
from tests.support.requirements import proves

SCREENS = Path(__file__).parent / "screens" / "claude_code"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "claude").symlink_to(sys.executable)
    return {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}


def place(folder: Path, env: Mapping[str, str], *hook_command: str) -> Place:
    return Place(worktree=folder / "tree", home=folder, env=env, hook_command=hook_command)


@proves("ASSIST-010")
def test_it_starts_with_settings_and_a_permission_mode_of_its_own(
    tmp_path: Path, env: dict[str, str]
) -> None:
    spec = AssistantSpec(kind="claude_code", model="opus", args=("--verbose",))

    start = ClaudeCodeAssistant().prepare(spec, place(tmp_path, env))

    settings = tmp_path / "claude-settings.json"
    expected = [
        "--settings",
        str(settings),
        "--permission-mode",
        "acceptEdits",
        "--model",
        "opus",
        "--verbose",
    ]
    assert list(start.argv) == [f"{tmp_path}/bin/claude", *expected]
    assert start.env == {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}
    assert settings.stat().st_mode & 0o777 == 0o600
    assert set(json.loads(settings.read_text(encoding="utf-8"))["hooks"]) == set(HOOKS)
    assert not (tmp_path / "tree").exists()


@proves("ASSIST-010")
def test_the_template_has_the_last_word_on_mode_and_updates(tmp_path: Path, env: dict[str, str]) -> None:
    spec = AssistantSpec(kind="claude_code", permission_mode="plan")

    start = ClaudeCodeAssistant().prepare(spec, place(tmp_path, {**env, "DISABLE_AUTOUPDATER": "0"}))

    assert start.argv[-2:] == ("--permission-mode", "plan")
    assert "DISABLE_AUTOUPDATER" not in start.env


@proves("ASSIST-011")
def test_a_hook_that_cannot_run_neither_forbids_a_tool_nor_speaks_to_the_model(
    tmp_path: Path, env: dict[str, str]
) -> None:
    # Exit status 2 is what Python says to a missing script, and a veto to Claude Code.
    gone = place(tmp_path, env, sys.executable, str(tmp_path / "it's gone.py"))
    ClaudeCodeAssistant().prepare(AssistantSpec(kind="claude_code"), gone)
    settings = json.loads((tmp_path / "claude-settings.json").read_text(encoding="utf-8"))
    command = settings["hooks"]["PreToolUse"][0]["hooks"][0]["command"]

    run = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)

    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@proves("ASSIST-002")
def test_a_missing_claude_code_is_named_with_the_way_to_install_it() -> None:
    with pytest.raises(Unavailable) as caught:
        ClaudeCodeAssistant().check(AssistantSpec(kind="claude_code"), {"PATH": "/nowhere"})

    assert "npm install" in caught.value.hint


@proves("ASSIST-012")
def test_bypassing_permissions_as_root_is_refused_outside_a_sandbox(env: dict[str, str]) -> None:
    spec = AssistantSpec(kind="claude_code", permission_mode="bypassPermissions")
    is_root = os.geteuid() == 0

    with pytest.raises(ConfigError) if is_root else nullcontext():
        ClaudeCodeAssistant().check(spec, env)

    assert ClaudeCodeAssistant().check(spec, {**env, "IS_SANDBOX": "1"})


@proves("ASSIST-012")
def test_settings_in_the_arguments_would_silence_the_hooks_and_are_refused(env: dict[str, str]) -> None:
    spec = AssistantSpec(kind="claude_code", args=("--settings=mine.json",))

    with pytest.raises(ConfigError):
        ClaudeCodeAssistant().check(spec, env)


CONVERSATION = "11111111-2222-4333-8444-555555555555"


def talking(folder: Path, env: Mapping[str, str]) -> Place:
    return replace(place(folder, env), conversation=CONVERSATION)


@proves("RESUME-001")
def test_a_conversation_is_begun_under_its_id_and_gone_on_with_when_it_exists(
    tmp_path: Path, env: dict[str, str]
) -> None:
    spec = AssistantSpec(kind="claude_code")
    first = ClaudeCodeAssistant().prepare(spec, talking(tmp_path, env))
    file = tmp_path / ".claude" / "projects" / "-tree" / f"{CONVERSATION}.jsonl"
    file.parent.mkdir(parents=True)
    file.touch()

    again = ClaudeCodeAssistant().prepare(spec, talking(tmp_path, env))

    assert first.argv[-2:] == ("--session-id", CONVERSATION)
    assert again.argv[-2:] == ("--resume", CONVERSATION)


@proves("RESUME-001")
@pytest.mark.parametrize("word", ["--continue", "-c", "--resume=x", "-r", "--session-id"])
def test_who_names_a_conversation_in_the_arguments_has_said_which(
    tmp_path: Path, env: dict[str, str], word: str
) -> None:
    spec = AssistantSpec(kind="claude_code", args=(word,))

    start = ClaudeCodeAssistant().prepare(spec, talking(tmp_path, env))

    assert CONVERSATION not in start.argv


@proves("RESPAWN-003")
def test_a_hand_off_note_is_told_to_the_model_at_the_start(tmp_path: Path, env: dict[str, str]) -> None:
    note = tmp_path / "it's a note.md"
    note.write_text("you were started again", encoding="utf-8")
    here = replace(place(tmp_path, env), handoff=note)

    ClaudeCodeAssistant().prepare(AssistantSpec(kind="claude_code"), here)

    settings = json.loads((tmp_path / "claude-settings.json").read_text(encoding="utf-8"))
    _, told = settings["hooks"]["SessionStart"]
    run = subprocess.run(
        ["/bin/sh", "-c", told["hooks"][0]["command"]], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (0, "you were started again")


@proves("ASSIST-013")
@pytest.mark.parametrize(
    ("hook", "payload", "activity"),
    [
        ("SessionStart", {"source": "startup"}, Activity.READY),
        ("SessionStart", {"source": "resume"}, Activity.READY),
        ("SessionStart", {"source": "compact"}, None),
        ("UserPromptSubmit", {"prompt": "go"}, Activity.WORKING),
        ("PreToolUse", {"tool_name": "Bash"}, Activity.WORKING),
        ("PostToolUse", {"tool_name": "Bash"}, Activity.WORKING),
        ("PostToolUseFailure", {"tool_name": "Bash", "is_interrupt": False}, Activity.WORKING),
        ("PermissionRequest", {"tool_name": "Bash"}, Activity.AWAITING_INPUT),
        ("PermissionRequest", {"tool_name": "AskUserQuestion"}, Activity.AWAITING_INPUT),
        ("PermissionRequest", {"tool_name": "Bash", "agent_id": "s1"}, Activity.AWAITING_INPUT),
        ("Notification", {"notification_type": "idle_prompt"}, Activity.READY),
        ("Notification", {"notification_type": "permission_prompt"}, Activity.AWAITING_INPUT),
        ("Notification", {"notification_type": "auth_success"}, None),
        ("Stop", {"background_tasks": []}, Activity.READY),
        ("Stop", {"background_tasks": [{"type": "subagent", "status": "running"}]}, Activity.WORKING),
        ("Stop", {"background_tasks": [{"type": "shell", "status": "running"}]}, Activity.READY),
        ("StopFailure", {"error": "unknown"}, Activity.READY),
        ("PreToolUse", {"tool_name": "Bash", "agent_id": "s1"}, None),
        ("PostToolUse", {"tool_name": "Bash", "agent_id": "s1"}, None),
        ("SubagentStop", {"agent_id": "s1"}, None),
        ("SessionEnd", {"reason": "other"}, None),
        ("SomethingNew", {}, None),
    ],
)
def test_each_hook_means_one_activity(
    hook: str, payload: dict[str, object], activity: Activity | None
) -> None:
    assert ClaudeCodeAssistant().understand(hook, payload).activity is activity


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("odd", [None, 1, [], ["x"], {"a": 1}, "x" * 9999])
def test_odd_payloads_are_borne(hook: str, odd: object) -> None:
    keys = (
        "tool_name",
        "source",
        "background_tasks",
        "error",
        "notification_type",
        "agent_id",
        "is_interrupt",
        "reason",
    )

    report = ClaudeCodeAssistant().understand(hook, dict.fromkeys(keys, odd))

    assert len(report.detail) <= 200


def test_a_failed_turn_says_why() -> None:
    payload = {"error": "unknown", "last_assistant_message": "API Error: 402 cap reached"}

    assert ClaudeCodeAssistant().understand("StopFailure", payload).detail == (
        "StopFailure unknown API Error: 402 cap reached"
    )


@proves("R-25")
@pytest.mark.parametrize(
    ("screen", "activity", "detail"),
    [
        ("ready", Activity.READY, "input box"),
        ("ready_after_subagent", Activity.READY, "input box"),
        ("api_error", Activity.READY, "input box"),
        ("interrupted", Activity.READY, "interrupted"),
        ("permission_refused", Activity.READY, "interrupted"),
        ("working", Activity.WORKING, "esc to interrupt"),
        ("working_tool", Activity.WORKING, "esc to interrupt"),
        ("working_subagent", Activity.WORKING, "waiting for subagents"),
        ("retrying", Activity.WORKING, "esc to interrupt"),
    ],
)
def test_recorded_screens_are_read(screen: str, activity: Activity, detail: str) -> None:
    report = ClaudeCodeAssistant().read_screen((SCREENS / f"{screen}.txt").read_text(encoding="utf-8"))

    assert (report.activity, report.detail) == (activity, f"screen: {detail}")


@proves("R-23")
@pytest.mark.parametrize(
    ("screen", "detail"),
    [
        ("trust_dialog", "trust dialog"),
        ("api_key_dialog", "API key dialog"),
        ("bypass_warning", "bypass permissions warning"),
        ("configuration_error", "configuration error"),
        ("login", "login"),
        ("permission_dialog_shell", "permission dialog: Do you want to proceed?"),
        ("permission_dialog_edit", "permission dialog: Do you want to create hello.py?"),
        ("question", "question"),
    ],
)
def test_a_recorded_dialog_waits_for_a_person_and_is_named(screen: str, detail: str) -> None:
    report = ClaudeCodeAssistant().read_screen((SCREENS / f"{screen}.txt").read_text(encoding="utf-8"))

    assert (report.activity, report.detail) == (Activity.AWAITING_INPUT, f"screen: {detail}")


@proves("R-23")
def test_a_draft_that_quotes_a_dialog_is_not_a_dialog() -> None:
    screen = (SCREENS / "draft_quoting_a_dialog.txt").read_text(encoding="utf-8")

    assert ClaudeCodeAssistant().read_screen(screen).activity is Activity.READY


@proves("R-23")
def test_a_transcript_that_shows_an_input_box_does_not_hide_a_dialog() -> None:
    rule = "─" * 40
    dialog = (SCREENS / "permission_dialog_shell.txt").read_text(encoding="utf-8").rstrip().splitlines()[-6:]

    report = ClaudeCodeAssistant().read_screen("\n".join([rule, "❯ quoted", rule, *dialog]))

    assert report.activity is Activity.AWAITING_INPUT


@pytest.mark.parametrize("screen", ["", "\n\n", "$ ls\nfoo bar"])
def test_an_unknown_screen_says_nothing(screen: str) -> None:
    assert ClaudeCodeAssistant().read_screen(screen).activity is None


def test_a_screen_with_trouble_is_passed_on_in_its_own_words() -> None:
    report = ClaudeCodeAssistant().read_screen((SCREENS / "cannot_connect.txt").read_text(encoding="utf-8"))

    assert (report.activity, report.detail) == (None, "Unable to connect to Anthropic services")


@proves("HAND-003")
def test_a_compaction_is_told_before_it_happens_unless_it_is_a_subagents() -> None:
    own = ClaudeCodeAssistant().understand("PreCompact", {"trigger": "auto"})
    other = ClaudeCodeAssistant().understand("PreCompact", {"trigger": "auto", "agent_id": "s1"})

    assert (own.compacts, own.activity) == (True, None)
    assert not other.compacts
