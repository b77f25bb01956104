"""Locks that tasks declare, taken and given back with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from envmgr.core.leasing import excludes, meets
from envmgr.core.queueing import Obstacle, ObstacleKind
from envmgr.model.lock import BESIDE_TASKS, Conflict
from envmgr.model.principal import Principal, PrincipalKind
from envmgr.model.task import Task, TaskSpec
from envmgr.protocols.store import Transaction
from envmgr.services.ground import Tell
from envmgr.services.locks import LockRequest, Locks

_SOMEBODY = Principal(kind=PrincipalKind.DAEMON, name="somebody without locks")


class LocksOfTasks:
    """`rules.TaskLocks` on the lock service.

    Args:
        ttl_s: As long as a lease, so that a lock does not end before its task.
    """

    def __init__(self, locks: Locks, *, ttl_s: float) -> None:
        self._locks = locks
        self._ttl_s = ttl_s

    def take(
        self, tx: Transaction, tell: Tell, *, task: Task, spec: TaskSpec, holder: Principal
    ) -> Sequence[Obstacle]:
        asked = self._wanted(task, spec, holder)
        if shared := self._of_another_session(tx, asked):
            return shared
        return _obstacles(self._locks.take(tx, tell, asked).conflicts)

    def release(self, tx: Transaction, tell: Tell, task: Task) -> None:
        self._locks.end_task(tx, tell, task.name)

    def prolong(self, tx: Transaction, task: Task) -> None:
        for grant in tx.locks.of_task(task.name):
            self._locks.prolong(tx, grant, grant.ttl_s)

    def are_there(self, tx: Transaction, task: Task) -> bool:
        held = {grant.target for grant in tx.locks.of_task(task.name) if self._locks.stands(grant)}
        return held.issuperset(tx.tasks.spec(task.id).locks)

    def in_the_way(self, tx: Transaction, *, task: Task, spec: TaskSpec) -> Sequence[Obstacle]:
        return _obstacles(self._locks.look(tx, self._wanted(task, spec, _SOMEBODY)))

    def _of_another_session(self, tx: Transaction, asked: LockRequest) -> Sequence[Obstacle]:
        """A holder is never in its own way, but two of its sessions that work at different tasks are."""
        return [
            Obstacle(kind=ObstacleKind.LOCK, words=f"{grant.name} holds {grant.target}", on=grant.target)
            for target in self._locks.wanted(asked)
            for grant in self._locks.near(tx, asked.repo, target)
            if grant.holder == asked.principal.id
            and grant.tasks != BESIDE_TASKS
            and asked.session not in grant.sessions
            and excludes(grant.mode, asked.mode)
            and meets(target, grant.target)
        ]

    def _wanted(self, task: Task, spec: TaskSpec, holder: Principal) -> LockRequest:
        return LockRequest(
            principal=holder,
            repo=task.repo,
            targets=spec.locks,
            ttl_s=self._ttl_s,
            reason=f"{task.name}: {spec.description.strip().partition(chr(10))[0][:200]}",
            task=task.name,
        )


def _obstacles(conflicts: Iterable[Conflict]) -> list[Obstacle]:
    """Announcements of others keep nobody from anything."""
    return [
        Obstacle(
            kind=ObstacleKind.LOCK,
            words=f"{conflict.grant.name} {'waits for' if conflict.is_waiting else 'holds'} {conflict.grant.target}",
            on=conflict.grant.target,
        )
        for conflict in conflicts
    ]
