"""Every kind of assistant gets its agent's tools and key, and is understood."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envmgr.assistants.codex_hooks import HOOKS as CODEX_HOOKS
from envmgr.assistants.gemini_hooks import HOOKS as GEMINI_HOOKS
from envmgr.errors import ConfigError, Unavailable
from envmgr.model.agent import Activity
from envmgr.model.spec import AssistantSpec
from envmgr.protocols.assistant import Assistant
from tests.support.assistants import ASSISTANTS, KEY, TOOLS, place, server, start, written
from tests.support.requirements import proves


@proves("CLIENT-020")
@pytest.mark.parametrize("assistant", ASSISTANTS, ids=lambda one: one.kind)
def test_it_gets_its_agents_tools_and_no_key_stands_in_a_file_or_an_argument(
    assistant: Assistant, tmp_path: Path
) -> None:
    here = place(tmp_path)

    begun = start(assistant, here)

    known = server(assistant, here, begun)
    assert known is not None
    argv = known["command"] if isinstance(known["command"], list) else [known["command"], *known["args"]]
    assert tuple(argv) == TOOLS
    assert "ENVMGR_AGENT_KEY" in json.dumps(known)
    assert "ENVMGR_STATE_DIR" in json.dumps(known)
    assert KEY not in written(here.home) + " ".join(begun.argv) + json.dumps(dict(begun.env))


@proves("CLIENT-020")
@pytest.mark.parametrize("assistant", ASSISTANTS, ids=lambda one: one.kind)
def test_without_tools_there_is_no_server(assistant: Assistant, tmp_path: Path) -> None:
    here = place(tmp_path, tools_command=())

    assert server(assistant, here, start(assistant, here)) is None


@proves("CLIENT-021")
@pytest.mark.parametrize("assistant", ASSISTANTS[1:], ids=lambda one: one.kind)
def test_neither_the_persons_home_nor_the_worktree_is_touched(assistant: Assistant, tmp_path: Path) -> None:
    here = place(tmp_path)

    start(assistant, here)
    assistant.forget(AssistantSpec(kind=assistant.kind), here)

    assert list((tmp_path / "home").iterdir()) == []
    assert not here.worktree.exists()


@proves("ASSIST-002")
@pytest.mark.parametrize("assistant", ASSISTANTS, ids=lambda one: one.kind)
def test_a_missing_cli_is_named_with_the_way_to_install_it(assistant: Assistant) -> None:
    with pytest.raises(Unavailable) as caught:
        assistant.check(AssistantSpec(kind=assistant.kind), {"PATH": "/nowhere"})

    assert "npm install" in caught.value.hint


@proves("ASSIST-012")
@pytest.mark.parametrize("assistant", ASSISTANTS[1:], ids=lambda one: one.kind)
def test_a_permission_mode_that_it_does_not_have_is_told_with_those_it_has(
    assistant: Assistant, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        start(assistant, place(tmp_path), permission_mode="acceptEdits")

    assert "," in caught.value.hint


# --- what hooks mean ------------------------------------------------------------------------------------------


@proves("CLIENT-022")
@pytest.mark.parametrize(
    ("kind", "hook", "payload", "activity"),
    [
        ("codex", "SessionStart", {"session_id": "s"}, None),
        ("codex", "UserPromptSubmit", {"prompt": "go"}, Activity.WORKING),
        ("codex", "PreToolUse", {"tool_name": "Bash"}, Activity.WORKING),
        ("codex", "PermissionRequest", {"tool_name": "Bash"}, Activity.AWAITING_INPUT),
        ("codex", "PermissionRequest", {"agent_id": "a"}, Activity.AWAITING_INPUT),
        ("codex", "Stop", {}, Activity.READY),
        ("codex", "Stop", {"agent_id": "a"}, None),
        ("codex", "Interrupt", {}, Activity.READY),
        ("codex", "SomethingNew", {}, None),
        ("gemini", "SessionStart", {}, Activity.READY),
        ("gemini", "BeforeAgent", {"prompt": "go"}, Activity.WORKING),
        ("gemini", "BeforeTool", {"tool_name": "read_file"}, Activity.WORKING),
        ("gemini", "Notification", {"notification_type": "ToolPermission"}, Activity.AWAITING_INPUT),
        ("gemini", "Notification", {"notification_type": "Other"}, None),
        ("gemini", "AfterAgent", {}, Activity.READY),
        ("gemini", "SessionEnd", {}, None),
        ("opencode", "chat.message", {"prompt": "go"}, Activity.WORKING),
        ("opencode", "tool.execute.before", {"tool": "bash"}, Activity.WORKING),
        ("opencode", "session.status", {"status": "busy"}, Activity.WORKING),
        ("opencode", "session.status", {"status": "idle"}, Activity.READY),
        ("opencode", "session.status", {"status": "odd"}, None),
        ("opencode", "permission.asked", {"permission": "bash"}, Activity.AWAITING_INPUT),
        ("opencode", "permission.replied", {}, Activity.WORKING),
        ("opencode", "session.error", {"error": "x"}, None),
    ],
)
def test_each_hook_means_one_activity(
    kind: str, hook: str, payload: dict[str, object], activity: Activity | None
) -> None:
    assistant = next(one for one in ASSISTANTS if one.kind == kind)

    report = assistant.understand(hook, payload)

    assert report.activity is activity
    assert report.prompt == payload.get("prompt", "")
    assert report.ends_turn is (activity is Activity.READY and hook != "SessionStart")


@proves("DISPATCH-005")
@pytest.mark.parametrize(("answer", "is_done"), [("Done.", True), ("", False), ("[no response text]", False)])
def test_gemini_has_done_nothing_when_its_turn_had_no_answer(answer: str, *, is_done: bool) -> None:
    assistant = next(one for one in ASSISTANTS if one.kind == "gemini")

    report = assistant.understand("AfterAgent", {"prompt": "go", "prompt_response": answer})

    assert (report.finishes, bool(report.fails), report.ends_turn) == (is_done, not is_done, True)


@proves("HAND-003")
@pytest.mark.parametrize(
    ("kind", "hook"), [("codex", "PreCompact"), ("gemini", "PreCompress"), ("opencode", "session.compacting")]
)
def test_an_assistant_says_before_it_shortens_its_conversation(kind: str, hook: str) -> None:
    assistant = next(one for one in ASSISTANTS if one.kind == kind)

    report = assistant.understand(hook, {"session_id": "s", "sessionID": "s", "trigger": "manual"})

    assert (report.compacts, report.activity, report.ends_turn) == (True, None, False)


@proves("HAND-003")
def test_gemini_says_so_before_each_request_and_only_what_a_person_asks_for_counts() -> None:
    assistant = next(one for one in ASSISTANTS if one.kind == "gemini")

    assert not assistant.understand("PreCompress", {"trigger": "auto"}).compacts


@proves("CLIENT-022")
@pytest.mark.parametrize("assistant", ASSISTANTS, ids=lambda one: one.kind)
@pytest.mark.parametrize("odd", [None, 1, [], ["x"], {"a": 1}, "x" * 9999])
def test_odd_reports_are_borne(assistant: Assistant, odd: object) -> None:
    keys = (
        "tool_name",
        "tool",
        "status",
        "session_id",
        "sessionID",
        "notification_type",
        "agent_id",
        "error",
    )
    for hook in (*CODEX_HOOKS, *GEMINI_HOOKS, "session.status", "chat.message", ""):
        assert len(assistant.understand(hook, dict.fromkeys(keys, odd)).detail) <= 200
