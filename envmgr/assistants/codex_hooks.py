"""What Codex's hooks say about its activity. Measured with 0.169.0; see docs/reference/assistants.md."""

from __future__ import annotations

from collections.abc import Mapping

from envmgr.assistants.launching import text_of
from envmgr.model.agent import Activity
from envmgr.protocols.assistant import Listens, Report

HOOKS: Mapping[str, str] = {
    "SessionStart": "session_start",
    "SessionEnd": "session_end",
    "UserPromptSubmit": "user_prompt_submit",
    "PreToolUse": "pre_tool_use",
    "PostToolUse": "post_tool_use",
    "PermissionRequest": "permission_request",
    "PreCompact": "pre_compact",
    "Stop": "stop",
    "Interrupt": "interrupt",
}
"""Events, and how Codex writes them where it keeps their trust."""

_MEANS = {
    "UserPromptSubmit": Activity.WORKING,
    "PreToolUse": Activity.WORKING,
    "PostToolUse": Activity.WORKING,
    "PermissionRequest": Activity.AWAITING_INPUT,
    "Stop": Activity.READY,
    "Interrupt": Activity.READY,
}
_LISTENS = {"UserPromptSubmit": Listens.TURN, "PostToolUse": Listens.TOOL}
_DETAIL_CHARS = 200


def understand(hook: str, payload: Mapping[str, object]) -> Report:
    """Translate one hook call; an unknown one changes nothing.

    SessionStart comes with the first prompt and tells nothing of readiness. A subagent asks as its main loop does, and else
    works beside it.
    """
    activity, is_own = _MEANS.get(hook), not text_of(payload, "agent_id")
    if not is_own and activity is not Activity.AWAITING_INPUT:
        return Report(activity=None, detail=f"{hook} of a subagent"[:_DETAIL_CHARS])
    return Report(
        activity=activity,
        detail=f"{hook} {text_of(payload, 'tool_name')}".strip()[:_DETAIL_CHARS],
        conversation=text_of(payload, "session_id") if is_own and hook == "SessionStart" else "",
        prompt=text_of(payload, "prompt") if hook == "UserPromptSubmit" else "",
        listens=_LISTENS.get(hook) if is_own else None,
        compacts=is_own and hook == "PreCompact",
        ends_turn=activity is Activity.READY,
        finishes=hook == "Stop",
    )
