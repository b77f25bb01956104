"""What Claude Code's hooks say about its activity. Measured with 2.1.328; see docs/reference/assistants.md."""

from __future__ import annotations

from collections.abc import Mapping

from envmgr.model.agent import Activity
from envmgr.protocols.assistant import Listens, Report

HOOKS = (
    "SessionStart",
    "SessionEnd",
    "UserPromptSubmit",
    "PreToolUse",
    "PostToolUse",
    "PostToolUseFailure",
    "PermissionRequest",
    "Notification",
    "PreCompact",
    "Stop",
    "StopFailure",
    "SubagentStop",
)
_WORK = frozenset({"UserPromptSubmit", "PreToolUse", "PostToolUse", "PostToolUseFailure"})
_NOTIFICATIONS = {
    "idle_prompt": Activity.READY,
    "permission_prompt": Activity.AWAITING_INPUT,
    "elicitation_dialog": Activity.AWAITING_INPUT,
}
_LISTENS = {"UserPromptSubmit": Listens.TURN, "PostToolUse": Listens.TOOL}
_DETAIL_CHARS = 200


def understand(hook: str, payload: Mapping[str, object]) -> Report:
    """Translate one hook call; an unknown one changes nothing."""
    activity, remark = _meaning(hook, payload)
    detail = " ".join(f"{hook} {remark}".split())
    is_own = "agent_id" not in payload
    return Report(
        activity=activity,
        detail=detail[:_DETAIL_CHARS],
        conversation=_text(payload, "session_id") if is_own and hook == "SessionStart" else "",
        prompt=_text(payload, "prompt") if is_own and hook == "UserPromptSubmit" else "",
        compacts=is_own and hook == "PreCompact",
        listens=_LISTENS.get(hook) if is_own else None,
        ends_turn=activity is Activity.READY and hook != "SessionStart",
        finishes=activity is Activity.READY and hook == "Stop",
        fails=detail[:_DETAIL_CHARS] if hook == "StopFailure" else "",
    )


def _meaning(hook: str, payload: Mapping[str, object]) -> tuple[Activity | None, str]:
    tool = _text(payload, "tool_name")
    match hook:
        case "PermissionRequest":
            return Activity.AWAITING_INPUT, tool
        # A subagent works beside the main loop, which says itself when it waits and when it is done.
        case _ if "agent_id" in payload or hook == "SubagentStop":
            return None, f"of a subagent {tool}"
        case "SessionStart":
            # Compaction happens in the middle of a turn.
            source = _text(payload, "source")
            return (None if source == "compact" else Activity.READY), source
        case "PostToolUseFailure" if payload.get("is_interrupt") is True:
            return Activity.READY, f"{tool} interrupted"
        case _ if hook in _WORK:
            return Activity.WORKING, tool
        case "Notification":
            kind = _text(payload, "notification_type")
            return _NOTIFICATIONS.get(kind), kind
        case "Stop":
            count = _running_subagents(payload)
            return (Activity.WORKING, f"with {count} subagents at work") if count else (Activity.READY, "")
        case "StopFailure":
            return Activity.READY, f"{_text(payload, 'error')} {_text(payload, 'last_assistant_message')}"
        case _:
            return None, _text(payload, "reason")


def _text(payload: Mapping[str, object], key: str) -> str:
    value = payload.get(key)
    return value if isinstance(value, str) else ""


def _running_subagents(payload: Mapping[str, object]) -> int:
    """Background shells do not count: a development server that was left running is not work."""
    tasks = payload.get("background_tasks")
    return sum(
        isinstance(task, Mapping) and task.get("type") == "subagent" and task.get("status") == "running"
        for task in (tasks if isinstance(tasks, list) else [])
    )
