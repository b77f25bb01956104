"""The stop plan: assistant, people, services in reverse, session, verify, release.

Every part runs even when another fails; failures are gathered and reported together. It may be run any
number of times, and goes on where a crash cut it off.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import anyio

from envmgr.aio import blocking
from envmgr.errors import EnvmgrError
from envmgr.model.event import NewEvent
from envmgr.model.lease import StepRecord, StepState
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.model.service import StopPolicy
from envmgr.protocols.store import Transaction
from envmgr.runtime import agent_key, begun, engine_runner, restart_history, sharing, volumes
from envmgr.runtime.commands import run_task
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.ownership import Owner
from envmgr.runtime.saga import never
from envmgr.runtime.settling import Moves, change_key
from envmgr.runtime.steps import shared
from envmgr.runtime.steps.assistant import end_assistant
from envmgr.runtime.steps.environment import forget_files
from envmgr.runtime.steps.services import stop_services
from envmgr.runtime.steps.session import close_session
from envmgr.runtime.subjects import listener_of

Record = Callable[[NewEvent], Awaitable[None]]
Part = tuple[str, Callable[[], Awaitable[None]]]

_BOUND_LOOKS, _BOUND_PAUSE_S = 4, 0.2


@dataclass(slots=True)
class Failures:
    """What could not be stopped: part -> reason."""

    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def sentences(self) -> tuple[str, ...]:
        """For people."""
        return tuple(f"{part}: {reason}" for part, reason in self.reasons.items())


async def stop(inc: Incarnation, record: Record, *, reach: Callable[[str], None] = never) -> Failures:
    """Stop everything of this generation and verify; the worktree stays unless its retention says otherwise.

    Returns:
        What survived, part by part; empty means verified: no process, ports bindable, no session.
    """
    return await _carry_out(inc, _parts(inc, record), record, reach)


async def make_plain(inc: Incarnation, record: Record, *, reach: Callable[[str], None] = never) -> Failures:
    """After a stop that spared volumes and worktree for a respawn: the rest of a plain one."""
    return await _carry_out(inc, _spared(inc), record, reach)


async def _carry_out(
    inc: Incarnation, parts: Sequence[Part], record: Record, reach: Callable[[str], None]
) -> Failures:
    failures = Failures()
    for name, act in parts:
        if name == "release" and "verify" in failures.reasons:
            continue  # what survived may still use the ports; the next stop gives them back
        reach(f"stop-before-{name}")
        await record(_event(inc, "stop.started", name))
        try:
            await act()
        except Exception as error:  # noqa: BLE001 - the other parts must still run; the reason is reported
            failures.reasons[name] = _words(error)
        reach(f"stop-after-{name}")
        await record(_event(inc, "stop.finished", name, failures.reasons.get(name, "")))
    return failures


def _parts(inc: Incarnation, record: Record) -> Sequence[Part]:
    """In order. Services have ended before ports are checked; the release comes last."""
    return (
        *([("pre-stop", lambda: _hooks(inc, record, before=True))] if inc.spec.hooks.pre_stop else []),
        ("assistant", lambda: _end_assistant(inc)),
        ("people", lambda: _end_people(inc)),
        *([("begun", lambda: begun.end(inc))] if inc.systems.engine is not None else []),
        ("services", lambda: _stop_services(inc)),
        *([("shared", lambda: shared.leave(inc))] if sharing.shared_services(inc) else []),
        ("session", lambda: close_session(inc)),
        ("verify", lambda: verify(inc)),
        ("release", lambda: _release(inc)),
        *([("post-stop", lambda: _hooks(inc, record, before=False))] if inc.spec.hooks.post_stop else []),
        *_worktree(inc),
    )


def _spared(inc: Incarnation) -> Sequence[Part]:
    removes = inc.spec.retention.volumes == "remove" and inc.systems.engine is not None
    return (*([("volumes", lambda: volumes.remove(inc))] if removes else []), *_worktree(inc))


def _worktree(inc: Incarnation) -> Sequence[Part]:
    removes = inc.spec.retention.worktree == "remove-if-clean"
    return [("worktree", lambda: remove_if_clean(inc))] if removes else []


async def _hooks(inc: Incarnation, record: Record, *, before: bool) -> None:
    """A failing hook is recorded and holds nothing up: otherwise an agent with a wrong hook could never be stopped."""
    if not inc.has_ports or not await anyio.Path(inc.path).is_dir():
        return  # nothing of it ever ran
    kind = "pre-stop" if before else "post-stop"
    for task in inc.spec.hooks.pre_stop if before else inc.spec.hooks.post_stop:
        try:
            await run_task(inc, task, what=f"{kind} hook")
        except EnvmgrError as error:
            text = f"{error.message}; the stop goes on"
            await record(
                NewEvent(kind="notice", agent=inc.id, generation=inc.generation, data={"text": text})
            )


async def _end_assistant(inc: Incarnation) -> None:
    """Its key is worthless afterwards, even where something of it survives."""
    try:
        await end_assistant(inc, grace_s=inc.spec.assistant.stop.grace_s)
    finally:
        await agent_key.revoke(inc)


async def _end_people(inc: Incarnation) -> None:
    """Commands that people run in the agent's environment (`envmgr exec`)."""
    await inc.systems.processes.end(inc.marks(part="person"), signal="SIGHUP", grace_s=3.0)
    await inc.systems.processes.end(inc.marks(part="task"), grace_s=3.0)


async def _stop_services(inc: Incarnation) -> None:
    """With those that a change was to end when it was cut off; only its note tells how."""
    noted = await inc.systems.store.read(lambda tx: tx.get(change_key(inc.id)))
    gone = Moves.from_json(noted).gone if noted else ()
    policies = {one.name: StopPolicy(signal=one.signal, grace_s=one.grace_s) for one in gone}
    await stop_services(inc, gone=policies)


async def verify(inc: Incarnation) -> None:
    """Stopped means: no process and no container of the agent, every leased port bindable, no session.

    Raises:
        EnvmgrError: Names the survivors.
    """
    left: list[str] = []
    match await inc.systems.processes.members(inc.marks()):
        case Present(members):
            left += [f"{m.command or 'process'} (pid {m.identity.pid})" for m in members]
        case Unknown(reason):
            left.append(f"processes unknown: {reason}")
    match await inc.systems.terminals.look(inc.session, owner=inc.tag):
        case Present():
            left.append(f"session {inc.session}")
        case Unknown(reason):
            left.append(f"session unknown: {reason}")
    left += await engine_runner.left(inc)
    left += await begun.left(inc)
    for lease in await inc.systems.store.read(lambda tx: tx.leases(inc.id)):  # also of units that are no more
        if lease.held and await _still_bound(inc, lease.port):
            left.append(f"port {lease.port} ({lease.service}.{lease.name}) is still bound")
    if left:
        raise EnvmgrError("; ".join(left))


async def _still_bound(inc: Incarnation, port: int) -> bool:
    """Bound, and not surely by a stranger: anybody may take a port that no service of ours has opened.

    Looked at several times: somebody may just be trying whether the port is free, and the kernel closes when it has time.
    """
    for _ in range(_BOUND_LOOKS):
        if await blocking.look("proc", 5.0, inc.systems.sockets.is_free, port):
            return False
        await anyio.sleep(_BOUND_PAUSE_S)
    found = await blocking.look("proc", 5.0, listener_of, inc, port, marks=inc.marks())
    return found.owner is not Owner.FOREIGN


async def _release(inc: Incarnation) -> None:
    await forget_files(inc)

    def release(tx: Transaction) -> None:
        tx.release_ports(inc.id)
        tx.drop(change_key(inc.id))
        restart_history.forget(tx, inc.id)

    await inc.systems.store.write(release)


async def remove_if_clean(inc: Incarnation) -> None:
    """The worktree of a stopped agent, when git says that nothing is lost; its next start makes it again."""
    git = inc.systems.workspaces
    match await git.look(inc.repo, inc.path, inc.owner):
        case Present(worktree) if (await git.work(worktree)).is_safe_to_drop:
            await git.remove(inc.repo, worktree, owner=inc.owner, root=inc.layout.worktree_root)
            await git.drop_branch(inc.repo, worktree.branch, at=worktree.base)
            gone = StepRecord(step="worktree", order=0, state=StepState.UNDONE, receipt={"removed": True})
            await inc.systems.store.write(lambda tx: tx.journal(inc.id, inc.generation, gone))
        case Present() | Absent() | Unknown():
            return


def _words(error: BaseException) -> str:
    """Of the first real error inside of task groups."""
    if isinstance(error, BaseExceptionGroup):
        return _words(error.exceptions[0])
    return error.message if isinstance(error, EnvmgrError) else f"{type(error).__name__}: {error}"


def _event(inc: Incarnation, kind: str, part: str, error: str = "") -> NewEvent:
    data = {"step": part, "error": error} if error else {"step": part}
    return NewEvent(kind=kind, agent=inc.id, generation=inc.generation, data=data)
