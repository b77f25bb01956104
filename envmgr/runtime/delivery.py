"""Deliver a prompt: one clean paste, a separate submit, and proof that it was taken (R-22)."""

from __future__ import annotations

import anyio

from envmgr.errors import Conflict, Unavailable
from envmgr.model.agent import Activity
from envmgr.runtime import conversation, tools
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.reports import Reports

_SHOWN_S = 1.0
_TAKEN_S = 5.0
_SETTLED_S = 0.3
_POLL_S = 0.02


async def deliver(inc: Incarnation, text: str, reports: Reports) -> None:
    """Paste `text` into the agent pane, submit it, and see that the assistant took it.

    The caller has checked that the assistant is ready; a paste into a dialog could approve something.

    Raises:
        Conflict: There is no living session.
        Unavailable: The prompt was pasted but not taken, even after a second Enter; it was not sent twice.
    """
    async with reports.turn:
        await tools.until_listed(inc)
        try:
            pane, pasted = await _paste(inc, text)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await conversation.unsaid(inc)
            raise
        is_taken = await _is_taken(inc, pane, pasted, reports)
        await (conversation.taken if is_taken else conversation.not_taken)(inc)
        if not is_taken:
            raise Unavailable(
                f"{inc.name} did not take the prompt; it stands in its input line",
                hint=f"Look with `envmgr attach {inc.name}`, and press Enter there or clear the line.",
            )


async def _paste(inc: Incarnation, text: str) -> tuple[str, str]:
    """The pane, and its screen with the text in the input line; nothing is submitted yet."""
    terminal = await inc.find_terminal()
    if terminal is None:
        raise Conflict(f"{inc.name} has no terminal session", hint=f"Run `envmgr start {inc.name}`.")
    pane = terminal.agent_pane
    await conversation.sending(inc, text)
    await _settle(inc, pane)
    before = await inc.systems.terminals.screen(pane)
    await inc.systems.terminals.paste(pane, text)
    shown = await _changed(inc, pane, before, _SHOWN_S)
    if not inc.assistant.pastes_for_s:
        return pane, shown
    await anyio.sleep(inc.assistant.pastes_for_s)
    return pane, await inc.systems.terminals.screen(pane)


async def _is_taken(inc: Incarnation, pane: str, pasted: str, reports: Reports) -> bool:
    terminals, shown = inc.systems.terminals, pasted
    for _ in range(2):
        mark = reports.count
        await terminals.keys(pane, "Enter")
        if not inc.assistant.reports or await reports.after(mark, within_s=_TAKEN_S) is not None:
            return True
        shown = await terminals.screen(pane)
        if shown != pasted and not _may_be_a_line_more(inc, shown):
            return True
    return shown != pasted


def _may_be_a_line_more(inc: Incarnation, shown: str) -> bool:
    """Nothing tells that it works, and it takes an Enter soon after a paste for a part of that: another one does no harm."""
    return inc.assistant.pastes_for_s > 0 and inc.assistant.read_screen(shown).activity is Activity.READY


async def _settle(inc: Incarnation, pane: str) -> None:
    """Until the screen stands still for 300 ms: a program that is still starting drops keys."""
    last, same_for = await inc.systems.terminals.screen(pane), 0.0
    with anyio.move_on_after(_TAKEN_S):
        while same_for < _SETTLED_S:
            await anyio.sleep(_POLL_S * 2)
            now = await inc.systems.terminals.screen(pane)
            same_for = same_for + _POLL_S * 2 if now == last else 0.0
            last = now


async def _changed(inc: Incarnation, pane: str, before: str, within_s: float) -> str:
    now = before
    with anyio.move_on_after(within_s):
        while now == before:
            await anyio.sleep(_POLL_S)
            now = await inc.systems.terminals.screen(pane)
    return now
