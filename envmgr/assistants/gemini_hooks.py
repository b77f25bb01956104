"""What Gemini CLI's hooks say about its activity. Measured with 0.61.0; see docs/reference/assistants.md."""

from __future__ import annotations

from collections.abc import Mapping

from envmgr.assistants.launching import text_of
from envmgr.model.agent import Activity
from envmgr.protocols.assistant import Listens, Report

HOOKS = (
    *("SessionStart", "SessionEnd", "BeforeAgent", "AfterAgent"),
    *("BeforeTool", "AfterTool", "PreCompress", "Notification"),
)
_MEANS = {
    "SessionStart": Activity.READY,
    "BeforeAgent": Activity.WORKING,
    "BeforeTool": Activity.WORKING,
    "AfterTool": Activity.WORKING,
    "AfterAgent": Activity.READY,
}
_LISTENS = {"BeforeAgent": Listens.TURN, "AfterTool": Listens.TOOL}
ASKED_FOR = "manual"
"""Of PreCompress, by `/compress`: the other one comes before each request, whether anything is shortened or not."""
_NO_ANSWER = ("", "[no response text]")
"""What AfterAgent tells as the answer of a turn that had none: it comes after failed and interrupted turns, too."""
_DETAIL_CHARS = 200


def understand(hook: str, payload: Mapping[str, object]) -> Report:
    """Translate one hook call; an unknown one changes nothing."""
    activity, remark = _MEANS.get(hook), text_of(payload, "tool_name")
    if hook == "Notification":
        remark = text_of(payload, "notification_type")
        activity = Activity.AWAITING_INPUT if remark == "ToolPermission" else None
    is_end = hook == "AfterAgent"
    is_vain = is_end and payload.get("prompt_response", hook) in _NO_ANSWER
    return Report(
        activity=activity,
        detail=f"{hook} {remark}".strip()[:_DETAIL_CHARS],
        conversation=text_of(payload, "session_id") if hook == "SessionStart" else "",
        prompt=text_of(payload, "prompt") if hook == "BeforeAgent" else "",
        listens=_LISTENS.get(hook),
        compacts=hook == "PreCompress" and text_of(payload, "trigger") == ASKED_FOR,
        ends_turn=is_end,
        finishes=is_end and not is_vain,
        fails=f"{hook}: its turn had no answer" if is_vain else "",
    )
