"""Read opencode's screen: before its first prompt, and should its plugin be silent. Screens recorded from 1.18.33 are the tests."""

from __future__ import annotations

import re

from envmgr.model.agent import Activity
from envmgr.protocols.assistant import Report

_TAIL = 20
_DIALOG_END = re.compile(r"Allow once\s+Allow always\s+Reject|enter confirm|enter submit")
_PERMISSION = "Permission required"
_WORKING = re.compile(r"esc (again to )?interrupt")
_BOX = "╹▀▀▀"


def read_screen(screen: str) -> Report:
    """Guess the activity; None when the screen shows nothing known, as in its first seconds."""
    tail = [line.strip() for line in screen.splitlines() if line.strip(" ┃\t")][-_TAIL:]
    if tail and _DIALOG_END.search(tail[-1]):
        what = "permission dialog" if any(_PERMISSION in line for line in tail) else "dialog"
        return Report(activity=Activity.AWAITING_INPUT, detail=f"screen: {what}")
    box = next((number for number, line in enumerate(tail) if line.startswith(_BOX)), None)
    if box is None:
        return Report(activity=None, detail="")
    if any(_WORKING.search(line) for line in tail[box:]):
        return Report(activity=Activity.WORKING, detail="screen: esc interrupt")
    return Report(activity=Activity.READY, detail="screen: input box")
