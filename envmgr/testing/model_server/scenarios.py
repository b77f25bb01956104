"""What the scripted model does: named lists of steps, one step per request.

A prompt picks a scenario with `SCN=<name>`. Steps say what to do, not with which tool; `plan` finds that out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Say:
    """Answer with text and end the turn."""

    text: str


@dataclass(frozen=True, slots=True)
class Write:
    """Create a file below the working directory."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace text in a file below the working directory."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Shell:
    """Run a command. `extra` arguments are given where the tool knows them."""

    command: str
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """An argument of `Use`: the field of this name in the newest result that has one."""

    name: str


@dataclass(frozen=True, slots=True)
class Use:
    """Call the tool whose name ends with `suffix`, as MCP tools have prefixes."""

    suffix: str
    arguments: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Drip:
    """Stream text slowly, a word each half second."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Send no byte for a while, then answer, as a gateway does that waits for a person."""

    seconds: float
    text: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with an HTTP error."""

    status: int
    kind: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cut:
    """Drop the connection in the middle of the answer."""


Step = Say | Write | Edit | Shell | Use | Drip | Hold | Refuse | Cut

_CAP = "envmgr: session paused, spending cap $5.00 reached"
_SOON = {"retry-after": "1"}
_QUESTION = {
    "question": "Which colour?",
    "header": "Colour",
    "multiSelect": False,
    "options": [
        {"label": "Red", "description": "Warm"},
        {"label": "Blue", "description": "Cold"},
    ],
}

_CLAIMED = {"task_id": Found("task_id"), "lease_token": Found("lease_token")}


def _delegate(prompt: str) -> Use:
    kind = {"description": "say hello", "subagent_type": "general-purpose"}
    return Use("Agent", {**kind, "prompt": prompt})


SCENARIOS: Mapping[str, tuple[Step, ...]] = {
    "hello": (Say("Hello from the scripted model."),),
    "edit": (Write("hello.py", "print('hello from agent')\n"), Say("Created hello.py. DONE-EDIT")),
    "edit_locked": (Write("locked.py", "x = 2\n"), Say("Tried to write locked.py. DONE-LOCKED")),
    # What others think of the first call is known when the second has ended.
    "beside": (
        Write("locked.py", "x = 3\n"),
        Shell("sleep 3 && echo slept"),
        Say("Wrote locked.py and slept. DONE-BESIDE"),
    ),
    "replace": (Edit("hello.py", "hello", "goodbye"), Say("Changed hello.py. DONE-REPLACE")),
    "rm": (Shell("rm -rf build"), Say("Tried to remove build. DONE-RM")),
    "ls": (Shell("ls -la"), Say("Listed files. DONE-LS")),
    "touch": (Shell("touch made-by-shell.txt"), Say("Touched. DONE-TOUCH")),
    # Codex asks a person only when the model itself requests escalation; others ignore the extra arguments.
    "escalate": (
        Shell(
            "touch ../outside.txt",
            {"sandbox_permissions": "require_escalated", "justification": "Write outside the workspace?"},
        ),
        Say("Escalated. DONE-ESCALATE"),
    ),
    # A lock, a task, its completion: with envmgr's own tools.
    "coordinate": (
        Use("acquire_lock", {"targets": ["src/app.py"], "reason": "scripted"}),
        Use("get_work", {}),
        Use("complete_work", {**_CLAIMED, "success": True, "result": {"by": "the scripted model"}}),
        Say("Locked, claimed and completed. DONE-COORDINATE"),
    ),
    "mcp": (Use("lab_echo", {"text": "ping-42"}), Say("Called the MCP tool. DONE-MCP")),
    "ask": (Use("AskUserQuestion", {"questions": [_QUESTION]}), Say("Thanks. DONE-ASK")),
    "subagent": (_delegate("SCN=ls"), Say("Delegated. DONE-SUBAGENT")),
    "subagent_slow": (_delegate("SCN=slow"), Say("Delegated. DONE-SUBAGENT")),
    "slow": (Drip(12), Say("never reached")),
    "slow_tool": (Shell("sleep 8 && echo slept"), Say("Slept. DONE-SLOW")),
    "loop": (*[Shell("cat does-not-exist.txt")] * 8, Say("gave up DONE-LOOP")),
    "hold": (Hold(25, "Released after a hold. DONE-HOLD"),),
    "cut": (Cut(),),
    "e400": (Refuse(400, "invalid_request_error", _CAP),),
    "e402": (Refuse(402, "billing_error", "envmgr: session spending cap of $5.00 reached"),),
    "e403": (Refuse(403, "permission_error", _CAP),),
    "e429": (Refuse(429, "rate_limit_error", "envmgr: request rate limit reached", _SOON),),
    "e429_final": (
        Refuse(429, "rate_limit_error", "envmgr: no retry", {**_SOON, "x-should-retry": "false"}),
    ),
    "e500": (Refuse(500, "api_error", "upstream exploded"),),
    "e529": (Refuse(529, "overloaded_error", "Overloaded", _SOON),),
}
