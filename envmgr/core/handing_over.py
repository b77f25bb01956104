"""A handoff as text for a successor: the most telling parts first, and no longer than a model reads at its start."""

from __future__ import annotations

from collections.abc import Sequence

from envmgr.model.handoff import Handoff, HandoffKind, handoff_name

MOST_CHARS = 7000
"""What one handoff may take; Codex and Claude Code pass on 10,000 characters of a start."""
_MOST_NAMES = 15
_ITEM_CHARS = 400
_SECTION_CHARS = 900
_SUMMARY_CHARS = 1500
_TAIL_CHARS = 1200

_WHY = {
    HandoffKind.WRITTEN: "written by",
    HandoffKind.STOP: "made at the stop of",
    HandoffKind.CRASH: "made after the end of",
    HandoffKind.COMPACTION: "made before the compaction of",
}


def text(handoff: Handoff, *, when: str) -> str:
    """As Markdown.

    Args:
        when: Its moment, for people.
    """
    parts = [
        f"## Handoff {handoff_name(handoff.id)}, {_WHY[handoff.kind]} {handoff.agent_name or handoff.agent}, {when}",
        cut(handoff.summary, _SUMMARY_CHARS),
        _listed("Done", handoff.completed),
        _listed("In progress", handoff.in_progress),
        _listed("Decisions", handoff.decisions),
        _listed("Next steps", handoff.next_steps),
        _where(handoff),
        _listed("Files", handoff.files),
        f"### The end of what was said\n{cut(handoff.tail, _TAIL_CHARS, keeps_end=True)}"
        if handoff.tail
        else "",
    ]
    whole = "\n\n".join(part for part in parts if part)
    return cut(whole, MOST_CHARS)


def _listed(head: str, items: Sequence[str]) -> str:
    """As many as fit into the section."""
    lines, left = [f"### {head}"], _SECTION_CHARS
    for number, item in enumerate(items):
        line = f"- {cut(' '.join(item.split()), _ITEM_CHARS)}"
        left -= len(line)
        if left < 0:
            lines.append(f"- ... and {len(items) - number} more")
            break
        lines.append(line)
    return "\n".join(lines) if items else ""


def _where(handoff: Handoff) -> str:
    lines = []
    if handoff.branch:
        at = f" at {handoff.head[:12]}" if handoff.head else ""
        lines.append(f"Branch {handoff.branch}{at}.")
    if handoff.snapshot:
        lines.append(f"What was not committed is also saved under {handoff.snapshot}.")
    if handoff.locks:
        given = (
            f", given to {handoff.transferred_to}"
            if handoff.transferred_to
            else "; take them again if you go on"
        )
        lines.append(f"Locks held: {', '.join(handoff.locks[:_MOST_NAMES])}{given}.")
    if handoff.tasks:
        lines.append(f"Tasks not ended: {', '.join(handoff.tasks[:_MOST_NAMES])}.")
    return "\n".join(lines)


def cut(text: str, most: int, *, keeps_end: bool = False) -> str:
    """At most so many characters, from the beginning or the end."""
    if len(text) <= most:
        return text
    return f"...{text[-most + 3 :]}" if keeps_end else f"{text[: most - 3]}..."


def screen_tail(screen: str, *, lines: int = 25, width: int = 200) -> str:
    """The last lines of a screen that say something."""
    kept = [line.rstrip()[:width] for line in screen.splitlines() if any(c.isalnum() for c in line)]
    return "\n".join(kept[-lines:])
