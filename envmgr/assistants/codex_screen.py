"""Read Codex's screen: before its first prompt, and where its hooks are silent, as after a failed request.

While text streams in, the screen shows the same input line as when Codex waits, below an answer without its closing line; so an
answer that is not closed says nothing. Screens recorded from 0.169.0 are the tests.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from envmgr.model.agent import Activity
from envmgr.protocols.assistant import Report

_TAIL = 24
_INPUT = "›"
_DIALOG_END = re.compile(
    r"enter (to )?(confirm|continue|select|submit)|esc to cancel|Press enter", re.IGNORECASE
)
_DIALOGS = (  # first match names the dialog
    ("trust dialog", re.compile(r"Trust this folder")),
    ("hooks dialog", re.compile(r"Hooks need review")),
    ("login", re.compile(r"Sign in with|API key")),
    ("permission dialog", re.compile(r"Would you like to ")),
)
_ASKED = re.compile(r"Would you like to .*")
_MARK = re.compile(r"[›•◦■✗⚠]")
_CLOSED = re.compile(r"Worked for ")
_INTERRUPTED = "Conversation interrupted"
_TITLE = "OpenAI Codex"
_DETAIL_CHARS = 200


def read_screen(screen: str) -> Report:
    """Guess the activity; None when the screen shows nothing known."""
    lines = [line.strip() for line in screen.splitlines() if line.strip()]
    if lines and _DIALOG_END.search(lines[-1]):
        return Report(activity=Activity.AWAITING_INPUT, detail=f"screen: {_dialog(lines[-_TAIL:])}")
    inputs = [number for number, line in enumerate(lines) if line.startswith(_INPUT)]
    # Below the input line is its footer, of two lines at most, and nothing else.
    if not inputs or inputs[-1] < len(lines) - 3:
        return Report(activity=None, detail="")
    return _above(lines[: inputs[-1]])


def _above(lines: Sequence[str]) -> Report:
    if any("esc to interrupt" in line for line in lines[-_TAIL:]):
        return Report(activity=Activity.WORKING, detail="screen: esc to interrupt")
    said = next((line for line in reversed(lines) if _MARK.match(line)), "")
    if said.startswith("■"):
        told = said[1:].strip()[:_DETAIL_CHARS]
        is_person = told.startswith(_INTERRUPTED)
        detail = f"screen: {told}"[:_DETAIL_CHARS]
        return Report(activity=Activity.READY, detail=detail, fails="" if is_person else told)
    is_closed = bool(lines) and _CLOSED.match(lines[-1]) is not None
    if is_closed or (not said and any(_TITLE in line for line in lines)):
        return Report(activity=Activity.READY, detail="screen: input line")
    return Report(activity=None, detail="")


def _dialog(tail: Sequence[str]) -> str:
    text = "\n".join(tail)
    name = next((name for name, sign in _DIALOGS if sign.search(text)), "dialog")
    asked = _ASKED.search(text) if name == "permission dialog" else None
    return f"{name}: {asked.group(0)}" if asked else name
