"""What our plugin in opencode says about its activity. Measured with 1.18.33; see docs/reference/assistants.md."""

from __future__ import annotations

from collections.abc import Mapping

from envmgr.assistants.launching import text_of
from envmgr.model.agent import Activity
from envmgr.protocols.assistant import Listens, Report

_MEANS = {
    "chat.message": Activity.WORKING,
    "tool.execute.before": Activity.WORKING,
    "tool.execute.after": Activity.WORKING,
    "permission.asked": Activity.AWAITING_INPUT,
    "permission.replied": Activity.WORKING,
}
_STATUS = {"busy": Activity.WORKING, "retry": Activity.WORKING, "idle": Activity.READY}
_DETAIL_CHARS = 200


def understand(hook: str, payload: Mapping[str, object]) -> Report:
    """Translate one report; an unknown one changes nothing. What subagents do, the plugin keeps to itself, save questions."""
    status = text_of(payload, "status")
    activity = _STATUS.get(status) if hook == "session.status" else _MEANS.get(hook)
    remark = status or text_of(payload, "tool") or text_of(payload, "permission") or text_of(payload, "error")
    is_prompt = hook == "chat.message"
    return Report(
        activity=activity,
        detail=f"{hook} {remark}".strip()[:_DETAIL_CHARS],
        conversation=text_of(payload, "sessionID") if is_prompt else "",
        prompt=text_of(payload, "prompt") if is_prompt else "",
        compacts=hook == "session.compacting",
        listens=Listens.TURN if is_prompt else None,
        ends_turn=activity is Activity.READY,
        finishes=activity is Activity.READY and hook != "session.error",
        fails=f"{hook} {remark}"[:_DETAIL_CHARS] if hook == "session.error" else "",
    )
