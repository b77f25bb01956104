"""How people read about locks."""

from __future__ import annotations

from collections.abc import Sequence

from envmgr.app.lock_views import (
    ConflictView,
    LockAnswer,
    LockList,
    LocksView,
    LockView,
    LockWhy,
    ReleaseView,
    WaiterView,
)
from envmgr.app.text import Style, clean, table


def answer(result: LockAnswer, style: Style) -> str:
    """`envmgr lock acquire`."""
    if result.ok:
        lines = [f"{result.action} {_lock(lock)}" for lock in result.locks]
        lines += [f"note: {one.holder} works at {one.held}{_because(one.reason)}" for one in result.warnings]
        return clean("\n".join(lines)) + "\n"
    lines = [f"{style.paint(result.status, 'amber')}: {clean(result.message)}"]
    lines += [f"  {_conflict(one)}" for one in result.conflicts]
    if result.release_order:
        lines += ["to get out of it, release one of these:"]
        lines += [f"  {clean(step)}" for step in result.release_order]
    elif result.queue_position:
        lines += [
            f"still waiting at position {result.queue_position}: ask again, or wait longer with --wait-s"
        ]
    elif result.conflicts:
        lines += [f"why and how to wait: envmgr lock why {clean(result.conflicts[0].target)}"]
    return "\n".join(lines) + "\n"


def release(result: ReleaseView, style: Style) -> str:
    """`envmgr lock release`."""
    lines = [f"released {target}" for target in result.released]
    lines += [f"not released: {result.message}"] if result.message else []
    lines += [f"not committed yet: {path}" for path in result.dirty_paths]
    return clean("\n".join(lines) or "nothing was held") + "\n"


def changed(result: LocksView, style: Style) -> str:
    """`envmgr lock renew`, `transfer` and `force`."""
    lines = [f"{result.action} {_lock(lock)}" for lock in result.locks]
    lines += [result.message] if result.message else []
    return clean("\n".join(lines) or "nothing was held") + "\n"


def listing(result: LockList, style: Style) -> str:
    """`envmgr lock ls`."""
    if not result.locks and not result.waiting:
        return "No locks. Take one: envmgr lock acquire src/app.py\n"
    text = _locks(result.locks, style) if result.locks else ""
    if result.waiting:
        text += ("\n" if text else "") + _waiting(result.waiting, style)
    if result.would_conflict:
        text += "\nin the way:\n" + "".join(f"  {_conflict(one)}\n" for one in result.would_conflict)
    return text


def why(result: LockWhy, style: Style) -> str:
    """`envmgr lock why`."""
    if result.is_yours:
        lines = [f"you hold {result.target}"]
    else:
        lines = [f"{result.target} is {'free' if result.is_free else 'not free'}"]
    for lock in result.locks:
        who = "you hold" if lock.holder_id == result.asker_id else f"{lock.holder} holds"
        lines.append(f"  {who} {lock.target} ({lock.mode}) since {lock.since_at}{_because(lock.reason)}")
        lines.append(f"    until {lock.expires_at}, in {span(lock.left_s)}, unless it is renewed")
    lines += [
        f"  {one.position}. {one.holder} waits for {', '.join(one.targets)} ({one.mode}) for {span(one.waited_s)}"
        for one in result.waiting
    ]
    if result.wait_command:
        must_wait = not result.is_free or result.waiting
        lines.append(f"{'wait for it' if must_wait else 'take it'}: {result.wait_command}")
    return clean("\n".join(lines)) + "\n"


def span(seconds: float) -> str:
    """`12s`, `4m`, `2h05`."""
    if round(seconds) < 60:
        return f"{round(seconds)}s"
    minutes = round(seconds / 60)
    return f"{minutes}m" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}"


def _locks(locks: Sequence[LockView], style: Style) -> str:
    rows = [
        [
            one.target,
            one.mode,
            one.holder,
            span(one.left_s),
            str(one.token),
            one.task_id or "-",
            one.reason or "-",
        ]
        for one in locks
    ]
    return table(["TARGET", "MODE", "HOLDER", "LEFT", "TOKEN", "TASK", "REASON"], rows, style)


def _waiting(waiting: Sequence[WaiterView], style: Style) -> str:
    rows = [
        [", ".join(one.targets), one.mode, one.holder, span(one.waited_s), str(one.position), one.priority,
         one.reason or "-"]
        for one in waiting
    ]  # fmt: skip
    return table(["WAITS FOR", "MODE", "WHO", "SINCE", "PLACE", "CLASS", "REASON"], rows, style)


def _lock(lock: LockView) -> str:
    return f"{lock.target} ({lock.mode}, token {lock.token}, {lock.holder}, {span(lock.left_s)} left)"


def _conflict(one: ConflictView) -> str:
    same = "" if one.overlap_example == one.target else f", both cover {one.overlap_example}"
    if one.is_waiting:
        return clean(f"{one.target}: {one.holder} waits for {one.held}{same}")
    left = f", {span(one.left_s)} left" if one.left_s is not None else ""
    return clean(
        f"{one.target}: {one.holder} holds {one.held} ({one.mode}{left}){_because(one.reason)}{same}"
    )


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
