"""Read Claude Code's screen where its hooks are silent: Esc, a refused permission, and what comes before the session.

Only the live tail counts. A dialog is known by its last line, where every other state has the footer of the input box:
neither the transcript nor a draft that quotes a dialog can stand there. Where in doubt a screen is a dialog, because a
prompt pasted into one could approve something. Screens recorded from 2.1.328 are the tests.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from envmgr.model.agent import Activity
from envmgr.protocols.assistant import Report

_TAIL = 15
_DIALOG_END = re.compile(r"Enter to (confirm|select|continue)|Esc to (cancel|go back)|Press Enter")
_DIALOGS = (  # first match names the dialog
    ("trust dialog", re.compile(r"trust this folder|Is this a project you created")),
    ("API key dialog", re.compile(r"Do you want to use this API key")),
    ("bypass permissions warning", re.compile(r"Yes, I accept")),
    ("configuration error", re.compile(r"Reset to default configuration")),
    ("login", re.compile(r"Select login method|Paste code here|Login successful")),
    ("onboarding", re.compile(r"text style that looks best|Security notes")),
    ("permission dialog", re.compile(r"Do you want to ")),
    ("question", re.compile(r"Enter to select")),
)
_ASKED = re.compile(r"Do you want to .*")
_WAITING = re.compile(r"Waiting for \d+ background agent")
_TROUBLE = "Unable to connect"
_RULE = re.compile(r"[─━▔]{20,}")


def read_screen(screen: str) -> Report:
    """Guess the activity; None when the screen shows nothing known."""
    tail = [line.strip() for line in screen.splitlines() if line.strip()][-_TAIL:]
    if tail and _DIALOG_END.search(tail[-1]):
        return Report(activity=Activity.AWAITING_INPUT, detail=f"screen: {_dialog(tail)}")
    box = _input_box(tail)
    if box is not None:
        return _with_box(above=tail[: box[0]], below=tail[box[1] + 1 :])
    return Report(activity=None, detail=next((line for line in tail if line.startswith(_TROUBLE)), ""))


def _input_box(tail: Sequence[str]) -> tuple[int, int] | None:
    """Its upper and lower rule: the last two, with the prompt sign below the upper one."""
    rules = [index for index, line in enumerate(tail) if _RULE.match(line)][-2:]
    is_box = len(rules) == 2 and tail[rules[0] + 1].startswith("❯")
    return (rules[0], rules[1]) if is_box else None


def _with_box(above: Sequence[str], below: Sequence[str]) -> Report:
    if any("esc to interrupt" in line for line in below):
        return Report(activity=Activity.WORKING, detail="screen: esc to interrupt")
    # Older lines of this kind stay in the transcript when the subagents are done.
    if any(_WAITING.search(line) for line in above[-2:]):
        return Report(activity=Activity.WORKING, detail="screen: waiting for subagents")
    what = "interrupted" if any("Interrupted ·" in line for line in above) else "input box"
    return Report(activity=Activity.READY, detail=f"screen: {what}")


def _dialog(tail: Sequence[str]) -> str:
    text = "\n".join(tail)
    name = next((name for name, sign in _DIALOGS if sign.search(text)), "dialog")
    asked = _ASKED.search(text) if name == "permission dialog" else None
    return f"{name}: {asked.group(0)}" if asked else name
