"""Handoffs that nobody writes: at a stop, after a crash, before a compaction, from what git, the conversation and the screen tell.

None of this may hold anything up or make it fail: what is not known in time is left out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anyio

from envmgr.aio import blocking
from envmgr.core.handing_over import cut, screen_tail
from envmgr.core.masking import masked
from envmgr.errors import EnvmgrError
from envmgr.model.event import Event, NewEvent
from envmgr.model.handoff import Handoff, HandoffKind, Talk, handoff_name
from envmgr.model.principal import DAEMON
from envmgr.protocols.store import Transaction
from envmgr.protocols.workspaces import Worktree
from envmgr.runtime import conversation, rendering, saving
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.secrecy import values_of
from envmgr.services.calls import Call, answering

log = logging.getLogger(__name__)

_PATIENCE_S = 5.0
_AGAIN_S = 10.0
_LOOK_S = 2.0
_EVENTS = 100
_RECENT_S = 30.0
_MOST_FILES = 50
_SAID_CHARS = 700
_ASKED_CHARS = 400
_SCREEN_LINES = 60
_WORDS = {
    HandoffKind.STOP: "The agent was stopped",
    HandoffKind.CRASH: "The agent's assistant ended unexpectedly",
    HandoffKind.COMPACTION: "The conversation is about to be shortened",
}

Publish = Callable[[Sequence[Event]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What git knows."""

    branch: str = ""
    head: str = ""
    commits: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    in_progress: str = ""
    snapshot: str = ""


async def leave(
    inc: Incarnation, kind: HandoffKind, reason: str, *, publish: Publish | None = None, screen: str = ""
) -> None:
    """Write a handoff of the present generation; an earlier one of the same kind and generation is replaced. Never fails.

    Args:
        reason: Why, in words.
        screen: What stood in the terminal, if that is gone; looked at otherwise.
    """
    try:
        with anyio.move_on_after(_PATIENCE_S) as scope:
            async with inc.leaving:
                if not await _is_left(inc, kind):
                    await _leave(inc, kind, reason, publish, screen)
        if scope.cancelled_caught:
            log.warning(
                "no handoff", extra={"agent": inc.id, "why": f"it took longer than {_PATIENCE_S:g} s"}
            )
    except EnvmgrError as error:
        log.warning("no handoff", extra={"agent": inc.id, "why": error.message})
    except Exception:  # a record of an end keeps nothing from ending
        log.exception("no handoff", extra={"agent": inc.id})


async def _is_left(inc: Incarnation, kind: HandoffKind) -> bool:
    """Somebody else has just written it: an end is noticed in several places."""
    now = inc.systems.now()
    before = await inc.systems.store.read(lambda tx: tx.handoffs.of_occasion(inc.id, _occasion(inc, kind)))
    # One that is of later than now was written before the clock was set back.
    return before is not None and now - _AGAIN_S <= before.at <= now


def _occasion(inc: Incarnation, kind: HandoffKind) -> str:
    return f"{kind.value}/{inc.generation}"


async def _leave(
    inc: Incarnation, kind: HandoffKind, reason: str, publish: Publish | None, screen: str
) -> None:
    secrets = await values_of(inc, within_s=_LOOK_S)
    # What programs have written themselves is kept only where secrets in it can be told.
    talk = Talk() if secrets.unknown else await _talk(inc)
    shown = "" if secrets.unknown or talk.said else screen or await _screen(inc)
    work = await _work(inc)
    pending = None if secrets.unknown else await conversation.pending(inc)
    draft = _draft(
        inc, kind, reason, work, talk, shown, unanswered=pending.text if pending is not None else ""
    )
    await _store(inc, _masked(draft, secrets.known), publish)


def _draft(
    inc: Incarnation, kind: HandoffKind, reason: str, work: _Work, talk: Talk, shown: str, *, unanswered: str
) -> Handoff:  # fmt: skip
    last = talk.asked[-1] if talk.asked else unanswered
    parts = [f"{_WORDS[kind]}{f': {reason}' if reason else ''}."]
    parts += [f"It was asked last: {cut(' '.join(last.split()), _ASKED_CHARS)}"] if last else []
    parts += [f"It said last: {cut(' '.join(talk.said[-1].split()), _SAID_CHARS)}"] if talk.said else []
    changed = [f"not committed: {', '.join(work.changed[:10])}"] if work.changed else []
    under_way = [f"a {work.in_progress} is under way"] if work.in_progress else []
    left = [f"answer: {cut(' '.join(unanswered.split()), _ASKED_CHARS)}"] if unanswered else []
    return Handoff(
        repo=inc.spec.repo,
        agent=inc.id,
        agent_name=inc.name,
        generation=inc.generation,
        kind=kind,
        reason=reason,
        summary=" ".join(parts),
        completed=(*talk.done, *(f"commit: {subject}" for subject in work.commits)),
        in_progress=(*talk.doing, *changed, *under_way),
        next_steps=(*talk.planned, *left),
        files=tuple(dict.fromkeys((*work.changed, *_within(talk.files, inc.path), *work.files)))[
            :_MOST_FILES
        ],
        branch=work.branch,
        head=work.head,
        snapshot=work.snapshot,
        tail=screen_tail(shown),
        occasion=_occasion(inc, kind),
    )


def _within(paths: Iterable[str], folder: Path) -> list[str]:
    return [str(Path(path).relative_to(folder)) for path in paths if Path(path).is_relative_to(folder)]


def _masked(draft: Handoff, values: Iterable[str]) -> Handoff:
    known = frozenset(values)

    def each(items: Sequence[str]) -> tuple[str, ...]:
        return tuple(masked(item, known) for item in items)

    return replace(
        draft,
        reason=masked(draft.reason, known),
        summary=masked(draft.summary, known),
        completed=each(draft.completed),
        in_progress=each(draft.in_progress),
        next_steps=each(draft.next_steps),
        files=each(draft.files),
        tail=masked(draft.tail, known),
    )


async def _store(inc: Incarnation, draft: Handoff, publish: Publish | None) -> None:
    now = inc.systems.now()

    def change(tx: Transaction) -> Event:
        held = [grant.target for grant in tx.locks.all(draft.repo, holder=draft.agent)]
        tasks = [task.name for task in tx.tasks.leased(holder=draft.agent)]
        # With the process, locks and leases end within moments.
        recent = [e for e in tx.last_events(agent=draft.agent, limit=_EVENTS) if e.at >= now - _RECENT_S]
        held += [str(e.data["target"]) for e in recent if e.kind == "lock.lost"]
        tasks += [str(e.data["task"]) for e in recent if e.kind == "task.returned"]
        whole = replace(draft, at=now, locks=tuple(dict.fromkeys(held)), tasks=tuple(dict.fromkeys(tasks)))
        number = tx.handoffs.add(whole)
        data = {"handoff": handoff_name(number), "kind": draft.kind.value, "repo": draft.repo}
        new = NewEvent(kind="handoff.written", agent=inc.id, generation=inc.generation, data=data)
        seq = tx.append(new, at=now)
        return Event(
            kind=new.kind, agent=new.agent, generation=new.generation, data=new.data, cause="", seq=seq, at=now
        )  # fmt: skip

    params = {"agent": inc.name, "kind": draft.kind.value}
    with answering(Call(principal=DAEMON, operation="handoff.leave", target=inc.name, params=params)):
        event = await inc.systems.store.write(change)
    if publish is not None:
        publish([event])


# --- what there is to know --------------------------------------------------------------------------------------


async def _talk(inc: Incarnation) -> Talk:
    """The end of the conversation, where the assistant keeps one that can be read."""
    read, talk = inc.systems.talks.get(inc.spec.assistant.kind), await conversation.current(inc)
    if read is None or not talk or not inc.has_ports:
        return Talk()
    env = rendering.assistant_env(inc, {ref.name: "" for ref in inc.spec.secrets})
    try:
        return await blocking.look("file", _LOOK_S, read, env, talk)
    except (EnvmgrError, OSError, ValueError) as error:
        log.info("conversation not read", extra={"agent": inc.id, "why": str(error)})
        return Talk()


async def _screen(inc: Incarnation) -> str:
    try:
        with anyio.fail_after(_LOOK_S):
            terminal = await inc.find_terminal()
            if terminal is not None:
                return await inc.systems.terminals.screen(terminal.agent_pane, history=_SCREEN_LINES)
    except (EnvmgrError, OSError, TimeoutError) as error:
        log.info("screen not read", extra={"agent": inc.id, "why": str(error)})
    return ""


async def _work(inc: Incarnation) -> _Work:
    """As far as git tells."""
    found = _Work(branch=inc.worktree.branch if inc.worktree is not None else "")
    try:
        worktree = await saving.worktree_of(inc)
        git = inc.systems.workspaces
        head = await git.resolve(inc.repo, f"refs/heads/{worktree.branch}")
        found = replace(found, branch=worktree.branch, head=head)
        commits = await git.history(worktree)
        work = await git.work(worktree)
        found = replace(
            found,
            commits=tuple(commit.subject for commit in commits[:20]),
            files=tuple(dict.fromkeys(file for commit in commits[:20] for file in commit.files)),
            changed=work.changed,
            in_progress=work.in_progress,
        )
        return replace(found, snapshot=await _snapshot(inc, worktree)) if work.changed else found
    except (EnvmgrError, OSError) as error:
        log.info("worktree not read", extra={"agent": inc.id, "why": str(error)})
        return found


async def _snapshot(inc: Incarnation, worktree: Worktree) -> str:
    """One for each agent: the newest takes the place of the one before."""
    ref = handoff_ref(inc)
    await inc.systems.workspaces.snapshot(worktree, ref)
    return ref


def handoff_ref(inc: Incarnation) -> str:
    """Where the files lie as they were at the last handoff, with what was not committed."""
    return f"refs/envmgr/{inc.id}/handoff"


async def is_left(inc: Incarnation, kind: HandoffKind, *, since_at: float) -> bool:
    """Whether there is one of the present generation that is not older."""
    found = await inc.systems.store.read(lambda tx: tx.handoffs.of_occasion(inc.id, _occasion(inc, kind)))
    return found is not None and found.at >= since_at


async def forget_files(inc: Incarnation) -> None:
    """The agent is removed, and its files are saved elsewhere."""
    try:
        await inc.systems.workspaces.drop_snapshot(inc.repo, handoff_ref(inc))
    except EnvmgrError as error:  # it holds a few objects, and nothing up
        log.info("handoff's files not dropped", extra={"agent": inc.id, "why": error.message})
