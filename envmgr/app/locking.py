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
from envmgr.core.overlap import has_path, overlap
from envmgr.core.targets import Target, parse_target
from envmgr.core.waits import Wish
from envmgr.errors import Conflict, EnvmgrError, UsageError
from envmgr.model.agent import Lifecycle
from envmgr.model.lock import Mode, Priority
from envmgr.model.principal import Principal, PrincipalKind, Scope
from envmgr.runtime.real_targets import real_target
from envmgr.services.lock_desk import STALE, Done
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
    session = who.principal.session or ask.session_id
    desk, locks = app.coordinator.lock_desk, app.coordinator.locks
    answer = await desk.acquire(
        LockRequest(
            principal=replace(who.principal, session=session), repo=who.repo, targets=targets, mode=Mode(ask.mode),
            ttl_s=(ask.ttl_minutes or 0) * 60.0, reason=ask.reason, task=ask.task_id, priority=Priority(ask.priority),
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
        reason=_refusal(done),
        message=_why_not(done),
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
    receiver = app.agents.named(ask.to_agent)
    if receiver.state.lifecycle is not Lifecycle.RUNNING or receiver.spec.repo != who.repo:
        why = "works in another repository" if receiver.spec.repo != who.repo else "does not run"
        raise Conflict(f"{receiver.state.name} {why}", hint="See `envmgr ls`; release the lock instead.")
    to = Principal(kind=PrincipalKind.AGENT, name=receiver.state.name, agent=receiver.state.id)
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
    done = await app.coordinator.lock_desk.force(who.repo, targets, by=who.principal.name, reason=ask.reason)
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
    held = await locks.ground.read(
        lambda tx: locks.held(tx, repo, holder=who.principal.id if ask.mine else "")
    )
    live = {token for token in ask.tokens if await locks.ground.read(_checks(app, token))}
    says = Says(locks)
    conflicts = [
        says.conflict(found)
        for target in wanted
        for found in await app.coordinator.lock_desk.in_the_way(
            who.principal, who.repo, target, Mode(ask.mode)
        )
    ]
    return LockList(
        locks=[says.lock(grant) for grant in held if not wanted or _touch(grant.target, wanted)],
        waiting=[w for w in _waiting(app, repo) if not wanted or any(_touch(t, wanted) for t in w.targets)],
        would_conflict=conflicts,
        stale_tokens=[token for token in ask.tokens if token not in live],
    )


@operation(
    "lock.why", route="GET /api/v1/locks/why", gives=LockWhy, text=lock_text.why, command="lock why",
    scope=Scope.LOCKS, tool="why_lock", is_compact=True,
)  # fmt: skip
async def why(ask: WhyLock, app: App) -> LockWhy:
    """Tell who holds a target, since when and what for, when it is free, who waits, and how to wait for it."""
    who = await caller(app, ask.repo)
    (target,) = await _targets(app, who, [ask.target])
    locks = app.coordinator.locks
    near = await locks.ground.read(lambda tx: locks.near(tx, who.repo, target))
    found = await app.coordinator.lock_desk.in_the_way(who.principal, who.repo, target, Mode(ask.mode))
    says = Says(locks)
    conflicts = [says.conflict(one) for one in found]
    mode = "" if ask.mode == "write" else f" --mode {ask.mode}"
    return LockWhy(
        target=target,
        is_free=not conflicts,
        locks=[says.lock(grant) for grant in near if _touch(grant.target, (target,))],
        waiting=[w for w in _waiting(app, who.repo) if any(_touch(one, (target,)) for one in w.targets)],
        conflicts=conflicts,
        frees_at=max((one.expires_at for one in conflicts), default=""),
        wait_command=f"envmgr lock acquire {shlex.quote(target)}{mode} --wait-s 600",
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


def _touch(target: str, others: Sequence[str]) -> bool:
    one = parse_target(target)
    return any(overlap(one, parse_target(other)) is not None for other in others)


def _checks(app: App, token: int) -> Any:  # Any: a query
    return lambda tx: app.coordinator.locks.check(tx, token)


def _waiting(app: App, repo: str) -> list[WaiterView]:
    line, now = app.coordinator.locks.line, app.coordinator.ground.steady()

    def view(wish: Wish) -> WaiterView:
        return WaiterView(
            holder=wish.name, targets=list(wish.targets), mode=wish.mode.value, priority=wish.priority.value,
            reason=wish.reason, waited_s=round(now - wish.since, 1), position=line.position(wish),
        )  # fmt: skip

    return [view(wish) for wish in line.wishes() if repo in ("", wish.repo)]


def _refusal(done: Done) -> str:
    return done.refused[0][1] if done.refused else ""


def _why_not(done: Done) -> str:
    if not done.refused:
        return ""
    names = ", ".join(target for target, _ in done.refused)
    if _refusal(done) == STALE:
        return f"that token is stale: {names} may be somebody else's by now"
    return f"not held by you: {names}"


def _changed(app: App, done: Done, action: Literal["renewed", "transferred", "released"]) -> LocksView:
    says = Says(app.coordinator.locks)
    return LocksView(
        ok=not done.refused, success=not done.refused, action=action if done.grants else "", reason=_refusal(done),
        message=_why_not(done), not_held=[target for target, _ in done.refused],
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
