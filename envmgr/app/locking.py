"""Operations on locks."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from envmgr.aio.blocking import look
from envmgr.app import lock_text
from envmgr.app.caller import Caller, caller
from envmgr.app.context import App
from envmgr.app.lock_asks import (
    AcquireLock,
    ForceLock,
    ListLocks,
    ReleaseLock,
    RenewLock,
    TransferLock,
    WhyLock,
)
from envmgr.app.lock_looks import lets, receiver, refusal, touches, waiters, why_not
from envmgr.app.lock_views import (
    LockAnswer,
    LockList,
    LocksView,
    LockWhy,
    ReleaseView,
    Says,
    WaiterView,
)
from envmgr.app.operations import Touch, operation
from envmgr.core.masking import masked
from envmgr.core.overlap import has_path
from envmgr.core.targets import Target, parse_target
from envmgr.errors import EnvmgrError, UsageError
from envmgr.model.lock import Grant, Mode, Priority
from envmgr.model.principal import Scope
from envmgr.protocols.store import Transaction
from envmgr.runtime.real_targets import real_target
from envmgr.services.lock_desk import Done
from envmgr.services.locks import LockRequest

_CONFLICT = 5
_LINKS_S = 5.0


def _status(result: Any) -> int:  # Any: one of the answers below
    return 0 if result.ok else _CONFLICT


@operation(
    "lock.acquire", route="POST /api/v1/locks/acquire", gives=LockAnswer, text=lock_text.answer, touch=Touch.WRITE,
    command="lock acquire", status=_status, scope=Scope.LOCKS, tool="acquire_lock", is_compact=True, waits="wait_s",
)  # fmt: skip
async def acquire(ask: AcquireLock, app: App) -> LockAnswer:
    """Lock files or keys before changing them: all of them or none.

    Asking again for what one holds renews it. Locks end by themselves: with their time unless their holder gives signs of
    life, and with the agent that holds them.
    """
    who = await caller(app, ask.repo)
    targets = await _targets(app, who, ask.wanted)
    principal = who.principal
    if ask.session_id and not principal.session:
        principal = replace(principal, session=ask.session_id)
    desk, locks = app.coordinator.lock_desk, app.coordinator.locks
    answer = await desk.acquire(
        LockRequest(
            principal=principal, repo=who.repo, targets=targets, mode=Mode(ask.mode),
            ttl_s=(ask.ttl_minutes or 0) * 60.0, reason=masked(ask.reason), task=ask.task_id, priority=Priority(ask.priority),
        ),
        wait_s=ask.wait_s,
    )  # fmt: skip
    return Says(locks).answer(answer, list(targets))


@operation(
    "lock.release", route="POST /api/v1/locks/release", gives=ReleaseView, text=lock_text.release, touch=Touch.WRITE,
    command="lock release", status=_status, scope=Scope.LOCKS, tool="release_lock", is_compact=True,
)  # fmt: skip
async def release(ask: ReleaseLock, app: App) -> ReleaseView:
    """Give locks back, and hear which changes under them are not committed yet."""
    who = await caller(app, ask.repo)
    if ask.all == bool(ask.wanted):
        raise UsageError("what is to be released?", hint="Name the targets, or say --all.")
    targets = await _targets(app, who, ask.wanted) if ask.wanted else ()
    done = await app.coordinator.lock_desk.release(who.principal, who.repo, targets, token=ask.token)
    released = [grant.target for grant in done.grants]
    return ReleaseView(
        ok=not done.refused,
        success=not done.refused,
        action="released" if released else "",
        reason=refusal(done),
        message=why_not(done),
        file_path=targets[0] if len(targets) == 1 else "",
        released=released,
        not_held=[target for target, _ in done.refused],
        dirty_paths=await _dirty(app, who, released),
    )


@operation(
    "lock.renew", route="POST /api/v1/locks/renew", gives=LocksView, text=lock_text.changed, touch=Touch.WRITE,
    command="lock renew", status=_status, scope=Scope.LOCKS, tool="renew_lock",
)  # fmt: skip
async def renew(ask: RenewLock, app: App) -> LocksView:
    """Let locks last longer. Calls and hooks of an agent do that by themselves."""
    who = await caller(app, ask.repo)
    targets = await _targets(app, who, ask.wanted) if ask.wanted else ()
    ttl_s = (ask.ttl_minutes or 0) * 60.0
    desk = app.coordinator.lock_desk
    done = await desk.renew(who.principal, who.repo, targets, ttl_s=ttl_s, token=ask.token)
    return _changed(app, done, "renewed")


@operation(
    "lock.transfer", route="POST /api/v1/locks/transfer", gives=LocksView, text=lock_text.changed, touch=Touch.WRITE,
    command="lock transfer", status=_status, scope=Scope.LOCKS, tool="transfer_lock",
)  # fmt: skip
async def transfer(ask: TransferLock, app: App) -> LocksView:
    """Give locks to another agent, which is told; they get new tokens."""
    who = await caller(app, ask.repo)
    if not ask.to_agent:
        raise UsageError("who is to get them?", hint="Say --to-agent NAME.")
    to = receiver(app, ask.to_agent, repo=who.repo)
    done = await app.coordinator.lock_desk.transfer(
        who.principal, who.repo, await _targets(app, who, ask.wanted), to=to
    )
    return _changed(app, done, "transferred")


@operation(
    "lock.force", route="POST /api/v1/locks/force", gives=LocksView, text=lock_text.changed, touch=Touch.WRITE,
    command="lock force", status=_status, scope=Scope.ADMIN, tool="force_release_lock",
)  # fmt: skip
async def force(ask: ForceLock, app: App) -> LocksView:
    """Release locks of somebody else; they are told why, and their tokens are refused from now on."""
    who = await caller(app, ask.repo)
    if not ask.reason.strip():
        raise UsageError("why? Who held it is told", hint="Say --reason.")
    targets = await _targets(app, who, ask.wanted)
    because = masked(ask.reason)
    done = await app.coordinator.lock_desk.force(who.repo, targets, by=who.principal.name, reason=because)
    return _changed(app, done, "released")


@operation(
    "lock.list", route="GET /api/v1/locks", gives=LockList, text=lock_text.listing,
    command="lock ls", scope=Scope.LOCKS, tool="check_locks", is_compact=True,
)  # fmt: skip
async def list_locks(ask: ListLocks, app: App) -> LockList:
    """See which locks are held, by whom and for how long, and who waits."""
    who = await caller(app, ask.repo)
    locks, repo = app.coordinator.locks, "" if ask.all else who.repo
    wanted = await _targets(app, who, ask.wanted) if ask.wanted else ()

    def looked(tx: Transaction) -> tuple[list[Grant], list[WaiterView], list[int]]:
        held = locks.held(tx, repo, holder=who.principal.id if ask.mine else "")
        return (
            [grant for grant in held if not wanted or touches(grant.target, wanted)],
            [one for one in waiters(app, repo) if not wanted or any(touches(t, wanted) for t in one.targets)],
            [token for token in ask.tokens if locks.check(tx, token) is None],
        )

    held, waiting, stale = await locks.ground.read(looked)  # in a thread: there may be thousands
    says = Says(locks)
    conflicts = [
        says.conflict(found)
        for target in wanted
        for found in await app.coordinator.lock_desk.in_the_way(
            who.principal, who.repo, target, Mode(ask.mode)
        )
    ]
    return LockList(
        locks=[says.lock(grant) for grant in held],
        waiting=waiting,
        would_conflict=conflicts,
        stale_tokens=stale,
    )


@operation(
    "lock.why", route="GET /api/v1/locks/why", gives=LockWhy, text=lock_text.why, command="lock why",
    scope=Scope.LOCKS, tool="why_lock", is_compact=True,
)  # fmt: skip
async def why(ask: WhyLock, app: App) -> LockWhy:
    """Tell who holds a target, since when and what for, when it is free, who waits, and how to wait for it."""
    who = await caller(app, ask.repo)
    (target,) = await _targets(app, who, [ask.target])
    locks, mode = app.coordinator.locks, Mode(ask.mode)

    def looked(tx: Transaction) -> tuple[list[Grant], list[WaiterView]]:
        near = [grant for grant in locks.near(tx, who.repo, target) if touches(grant.target, (target,))]
        return near, [one for one in waiters(app, who.repo) if touches(target, one.targets)]

    near, waiting = await locks.ground.read(looked)
    found = await app.coordinator.lock_desk.in_the_way(who.principal, who.repo, target, mode)
    says, me = Says(locks), who.principal.id
    conflicts = [says.conflict(one) for one in found]
    is_yours = any(grant.holder == me and lets(grant, target, mode) for grant in near)
    words = "" if mode is Mode.WRITE else f" --mode {ask.mode}"
    wait = " --wait-s 600" if conflicts or waiting else ""
    return LockWhy(
        target=target,
        asker_id=me,
        is_yours=is_yours,
        is_free=not conflicts and not is_yours,
        locks=[says.lock(grant) for grant in near],
        waiting=waiting,
        conflicts=conflicts,
        frees_at=max((one.expires_at for one in conflicts), default=""),
        wait_command="" if is_yours else f"envmgr lock acquire {shlex.quote(target)}{words}{wait}",
    )


async def _targets(app: App, who: Caller, given: Sequence[str]) -> tuple[str, ...]:
    """Canonical, with links followed, each once. Raises UsageError for what cannot be locked."""
    if not given:
        raise UsageError("which lock?", hint="Name paths or keys, such as `src/app.py` or `db:users`.")
    targets = [parse_target(text) for text in given]
    if any(target.is_path for target in targets):
        roots = [*await _worktree(app, who), Path(who.repo)]
        targets = await look("file", _LINKS_S, _real, given, roots)
    return tuple(dict.fromkeys(target.text for target in targets))


def _real(given: Sequence[str], roots: Sequence[Path]) -> list[Target]:
    return [real_target(text, roots=roots) for text in given]


async def _worktree(app: App, who: Caller) -> list[Path]:
    """Of an agent; what cannot be told is left out."""
    if who.actor is None:
        return []
    try:
        return [(await app.agents.incarnation(who.actor)).path]
    except EnvmgrError:
        return []


def _changed(app: App, done: Done, action: Literal["renewed", "transferred", "released"]) -> LocksView:
    says = Says(app.coordinator.locks)
    return LocksView(
        ok=not done.refused, success=not done.refused, action=action if done.grants else "", reason=refusal(done),
        message=why_not(done), not_held=[target for target, _ in done.refused],
        locks=[says.lock(grant) for grant in done.grants],
    )  # fmt: skip


async def _dirty(app: App, who: Caller, released: Sequence[str]) -> list[str]:
    """Of agents only: people see their own checkout. What cannot be told is no reason to refuse a release."""
    if who.actor is None or not any(parse_target(target).is_path for target in released):
        return []
    try:
        inc = await app.agents.incarnation(who.actor)
        if inc.worktree is None:
            return []
        changed = await inc.systems.workspaces.changed(inc.worktree)
    except EnvmgrError:
        return []
    return [path for path in changed if any(has_path(parse_target(target), path) for target in released)]
