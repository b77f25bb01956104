"""Answers of the tools that agents coordinate with, in one line that names what matters: for the model, and for who watches it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch

from pydantic import BaseModel

from envmgr.app.audit_views import AuditPage
from envmgr.app.changing import ChangesView
from envmgr.app.handoff_views import HandoffList
from envmgr.app.helping import HelpView
from envmgr.app.lock_text import span
from envmgr.app.lock_views import LockAnswer, LockList, LocksView, LockView, LockWhy, ReleaseView
from envmgr.app.memory_views import MemoryList, RecalledView, RememberedView
from envmgr.app.session_views import PulseView, SessionList
from envmgr.app.task_views import ClaimView, TaskList, TaskView, WhyTaskView
from envmgr.core.counting import counted

_NAMED = 6
_WORDS = 120


@singledispatch
def brief(result: BaseModel) -> str:
    """The line; empty for a result of which the line for people says enough."""
    return ""


@brief.register
def _(result: LockAnswer) -> str:
    if result.ok:
        noted = [f"{one.holder} works at {one.held}" for one in result.warnings]
        return _line(f"{result.action} {_all(_lock(one) for one in result.locks)}", *noted)
    after = f"place {result.queue_position} in line" if result.queue_position else ""
    way_out = f"release {_all(result.release_order)}" if result.release_order else ""
    return _line(f"{result.status}: {result.message}", after, way_out)


@brief.register
def _(result: LocksView) -> str:
    return _line(f"{result.action} {_all(_lock(one) for one in result.locks)}".strip(), result.message)


@brief.register
def _(result: ReleaseView) -> str:
    released = f"released {_all(result.released)}" if result.released else "nothing was released"
    dirty = f"not committed yet: {_all(result.dirty_paths)}" if result.dirty_paths else ""
    return _line(released, result.message, dirty)


@brief.register
def _(result: LockList) -> str:
    waiting = _all(f"{one.holder} for {_all(one.targets)}" for one in result.waiting)
    in_way = _all(f"{one.holder} at {one.held}" for one in result.would_conflict)
    held = f"{counted(len(result.locks), 'lock')}: {_all(_held(one) for one in result.locks)}"
    return _line(
        held if result.locks else "no locks",
        f"waiting: {waiting}" if waiting else "",
        f"in the way: {in_way}" if in_way else "",
    )


@brief.register
def _(result: LockWhy) -> str:
    held = _all(f"{_held(one)}{_because(one.reason)}" for one in result.locks)
    waiting = _all(one.holder for one in result.waiting)
    return _line(
        f"{result.target} is free" if result.is_free else f"{result.target} is not free: {held}",
        f"waiting: {waiting}" if waiting else "",
    )


@brief.register
def _(result: ClaimView) -> str:
    if not result.ok:
        waits = _all(one.words for one in result.lock_waits)
        return _line("no task for you", f"others wait for locks: {waits}" if waits else "")
    return _line(
        f"took {result.task_id} ({result.task_type}, priority {result.priority}, attempt {result.attempt}): "
        + _first(result.description),
        f"lease_token {result.lease_token}, until {result.lease_expires_at}",
        f"locked {_all(result.locks)}" if result.locks else "",
    )


@brief.register
def _(result: TaskView) -> str:
    by = f" by {result.claimed_by}" if result.lease_expires_at else ""
    return _line(
        f"{result.task_id} {result.status}{by}: {_first(result.description)}",
        f"waits for {_all(result.waits_for)}" if result.waits_for else "",
        f"{result.error_code} {result.error_message}".strip(),
    )


@brief.register
def _(result: TaskList) -> str:
    counts = ", ".join(f"{count} {status}" for status, count in result.counts.items())
    shown = _all(f"{one.task_id} {one.status} {one.summary[:40]!r}" for one in result.tasks)
    return _line(counts or "no tasks", shown, "there are more" if result.next else "")


@brief.register
def _(result: WhyTaskView) -> str:
    if result.ready and not result.reasons:
        return f"{result.task_id} is ready: whoever asks next may get it"
    return f"{result.task_id} is {result.status}: {_all(one.words for one in result.reasons)}"


@brief.register
def _(result: HandoffList) -> str:
    said = _all(
        f"{one.handoff_id} by {one.agent} ({one.kind}): {_first(one.summary)}" for one in result.handoffs
    )
    return said or "no handoff"


@brief.register(RecalledView)
@brief.register(MemoryList)
def _(result: RecalledView | MemoryList) -> str:
    said = _all(f"{one.memory_id} {_first(one.summary)}" for one in result.memories)
    return said or "nothing is known about that"


@brief.register
def _(result: RememberedView) -> str:
    if result.deduplicated:
        return f"{result.memory_id} says that already"
    place = f" in the place of {result.superseded}" if result.superseded else ""
    doubt = f"says otherwise than {_all(result.contradicts)}" if result.contradicts else ""
    return _line(f"{result.memory_id} remembered{place}", doubt)


@brief.register
def _(result: SessionList) -> str:
    said = _all(
        f"{one.agent}{f'/{one.session_id}' if one.session_id else ''} {one.status}"
        + (f" at {_first(one.current_task or one.note)}" if one.current_task or one.note else "")
        for one in result.agents
    )
    return said or "nobody is here"


@brief.register
def _(result: PulseView) -> str:
    stop = f"must stop: {result.reason}" if result.must_stop else ""
    return _line(stop, *(f"warning: {one}" for one in result.warnings), *result.messages) or result.status


@brief.register
def _(result: AuditPage) -> str:
    said = _all(f"{one.seq} {one.name} {one.operation} {one.target} {one.outcome}" for one in result.entries)
    return said or "nothing fits"


@brief.register
def _(result: ChangesView) -> str:
    said = _all(
        f"{one.agent or 'somebody'} {one.kind} {one.path} {span(one.age_s)} ago"
        + (f" (locked by {one.locked_by})" if one.violates else "")
        for one in result.changes
    )
    return said or "no agent has changed a file here lately"


@brief.register
def _(result: HelpView) -> str:
    if len(result.topics) == 1:
        return f"{result.topics[0].name}: {result.topics[0].summary}"
    return f"topics: {', '.join(one.name for one in result.topics)}"


def _line(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _all(parts: Iterable[str]) -> str:
    """The first of them, and how many more there are."""
    known = list(parts)
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    return ", ".join(known[:_NAMED]) + more


def _first(words: str) -> str:
    first = words.strip().partition("\n")[0]
    return first if len(first) <= _WORDS else f"{first[: _WORDS - 1]}…"


def _lock(one: LockView) -> str:
    return f"{one.target} ({one.mode}, token {one.token}, {span(one.left_s)} left)"


def _held(one: LockView) -> str:
    return f"{one.target} by {one.holder} ({one.mode}, {span(one.left_s)} left)"


def _because(reason: str) -> str:
    return f", {reason}" if reason else ""
