"""Read Gemini CLI's screen where its hooks are silent: a refused permission, and what comes before the session.

Screens recorded from 0.61.0 are the tests.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from envmgr.model.agent import Activity
from envmgr.protocols.assistant import Report

_TAIL = 16
_CHOICE = re.compile(r"│?\s*●\s*\d+\.")
_INPUT = re.compile(r"[>*!]\s")
_WORKING = re.compile(r"\(esc to cancel, \d+[hms]")
_SAID = re.compile(r"[✕✦>]|ℹ Request cancelled")
_DETAIL_CHARS = 200
_DIALOGS = (  # first match names the dialog
    ("login", re.compile(r"How would you like to authenticate|Enter Gemini API Key|Waiting for auth")),
    ("trust dialog", re.compile(r"Do you trust (this|the files in this) folder")),
    ("permission dialog", re.compile(r"Allow execution|Apply this change|Do you want to proceed|Allow ")),
)
_ASKED = re.compile(r"(Allow execution|Apply this change|Do you want to proceed)[^│]*")


def read_screen(screen: str) -> Report:
    """Guess the activity; None when the screen shows nothing known."""
    tail = [line.strip() for line in screen.splitlines() if line.strip()][-_TAIL:]
    boxes = [number for number, line in enumerate(tail) if _INPUT.match(line)]
    # The input line is there, with its footer below it, in every state but a dialog.
    if boxes and boxes[-1] >= len(tail) - 4:
        return _with_input(tail[: boxes[-1]])
    text = "\n".join(tail)
    if any(_CHOICE.match(line) for line in tail) or _DIALOGS[0][1].search(text):
        return Report(activity=Activity.AWAITING_INPUT, detail=f"screen: {_dialog(text)}")
    return Report(activity=None, detail="")


def _with_input(above: Sequence[str]) -> Report:
    if any(_WORKING.search(line) for line in above[-4:]):
        return Report(activity=Activity.WORKING, detail="screen: esc to cancel")
    last = next((line for line in reversed(above) if _SAID.match(line)), "")
    failure = "interrupted" if last.startswith("ℹ") else last[1:].strip() if last.startswith("✕") else ""
    detail = f"screen: {failure or 'input line'}"[:_DETAIL_CHARS]
    return Report(activity=Activity.READY, detail=detail, fails=failure[:_DETAIL_CHARS])


def _dialog(text: str) -> str:
    name = next((name for name, sign in _DIALOGS if sign.search(text)), "dialog")
    asked = _ASKED.search(text) if name == "permission dialog" else None
    return f"{name}: {asked.group(0).strip()}" if asked else name
