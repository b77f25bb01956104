"""Locks: granted whole sets at a time, in one change of the store, to one holder for some time.

`take`, `give_back` and the like are plain functions of a transaction, so that other services lock as part of their own changes.
They run in the store's writer thread, one after the other: what one of them sees is true until it ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from envmgr.core.leasing import Judgement, around, covers, is_same_life, judge, stem
from envmgr.core.wait_graph import Waits
from envmgr.core.waits import Wish, queued_before
from envmgr.model.lock import Answer, Grant, Outcome
from envmgr.protocols.store import Transaction
from envmgr.services.ground import Tell
from envmgr.services.line import Waiter
from envmgr.services.lock_book import ITSELF, LockRequest
from envmgr.services.lock_ending import LockEnding
from envmgr.services.lock_events import deadlock, expired, waiting

__all__ = ["LockRequest", "Locks"]


class Locks(LockEnding):
    """All locks of one daemon."""

    def take(
        self, tx: Transaction, tell: Tell, asked: LockRequest, *, waiter: Waiter | None = None
    ) -> Answer:
        """Grant all targets or none.

        Args:
            waiter: Keeps a place in the line when they cannot be had now.
        """
        wanted = self.wanted(asked)
        wish = waiter.wish if waiter else self.wish(asked, wanted)
        looked = {target: self._look(tx, tell, wish, target) for target in wish.targets}
        lacking = tuple(target for target, found in looked.items() if not found.has(asked.mode))
        conflicts = [conflict for target in lacking for conflict in looked[target].conflicts]
        graph = None
        if lacking and self.line.is_anybody(but=wish.number):
            graph = self.graph(tx)
            part = replace(wish, targets=lacking)
            conflicts += [queued_before(part, one) for one in graph.bars(part)]
        if not conflicts:
            self.line.leave(wish.number)
            return self._grant(tx, asked, looked, wanted)
        warnings = tuple(warning for found in looked.values() for warning in found.warnings)
        refused = Answer(outcome=Outcome.CONFLICT, conflicts=tuple(conflicts), warnings=warnings)
        if waiter is None:
            return refused
        return self._queue(tell, waiter, refused, graph or self.graph(tx))

    def waiter(self, asked: LockRequest) -> Waiter:
        """To be passed to `take`; whoever makes it takes it out of the line in the end, whatever happens."""
        return self.line.waiter(self.wish(asked, self.wanted(asked)))

    # --- parts of it -------------------------------------------------------------------------------------------

    def _look(self, tx: Transaction, tell: Tell, wish: Wish, target: str) -> Judgement:
        near, standing = tx.locks.around(wish.repo, around(stem(target))), []
        for grant in near:
            if self.stands(grant):
                standing.append(grant)
            else:
                self.drop(tx, tell, [grant], tells=expired)
        return judge(target, wish.mode, standing, holder=wish.holder, family=wish.family)

    def _queue(self, tell: Tell, waiter: Waiter, refused: Answer, graph: Waits) -> Answer:
        """Into the line, or back to it, unless that wait would have no end."""
        wish = waiter.wish
        if cycle := graph.cycle(wish):
            self.line.leave(wish.number)
            tell(deadlock(wish, cycle))
            return replace(refused, outcome=Outcome.DEADLOCK, cycle=cycle)
        if not self.line.enter(waiter):
            tell(waiting(wish, (conflict.grant.name for conflict in refused.conflicts)))
        return replace(refused, outcome=Outcome.QUEUED, position=self.line.position(wish))

    def _grant(
        self,
        tx: Transaction,
        asked: LockRequest,
        looked: Mapping[str, Judgement],
        wanted: Mapping[str, frozenset[str]],
    ) -> Answer:
        grants, refreshed = [], set()
        life = self._life(asked.principal.agent)
        for target, found in looked.items():
            own, via = found.own, wanted.get(target, frozenset({ITSELF}))
            if own is not None and covers(own.mode, asked.mode) and is_same_life(own.life, life):
                refreshed.add(target)
                grants.append(self._refresh(tx, asked, own, life=life, via=via))
            else:
                grants.append(self._add(tx, asked, target, instead_of=own, life=life, via=via))
        warnings = tuple(warning for found in looked.values() for warning in found.warnings)
        return Answer(
            outcome=Outcome.GRANTED, grants=tuple(grants), refreshed=frozenset(refreshed), warnings=warnings
        )

    def _refresh(
        self, tx: Transaction, asked: LockRequest, own: Grant, *, life: str, via: frozenset[str]
    ) -> Grant:
        ttl_s = asked.ttl_s or own.ttl_s
        life = own.life if life.endswith("/0") else life  # what is known of the run is not forgotten
        fresh = replace(
            own, ttl_s=ttl_s, expires_at=self.ground.steady() + ttl_s, life=life, sessions=own.sessions | {asked.session},
            via=own.via | via, reason=asked.reason or own.reason, tasks=own.tasks | asked.tasks,
        )  # fmt: skip
        tx.locks.save(fresh)
        return fresh

    def _add(
        self,
        tx: Transaction,
        asked: LockRequest,
        target: str,
        *,
        instead_of: Grant | None,
        life: str,
        via: frozenset[str],
    ) -> Grant:
        """A weaker one, or one of an earlier run, is replaced: others may have had higher tokens meanwhile."""
        tasks = asked.tasks
        if instead_of is not None:
            tx.locks.drop(instead_of.token)
            via |= instead_of.via
            if is_same_life(instead_of.life, life):
                tasks |= instead_of.tasks
        ttl_s = asked.ttl_s or self.policy.ttl_s
        grant = Grant(
            token=0, repo=asked.repo, stem=stem(target), target=target, mode=asked.mode,
            holder=asked.principal.id, name=asked.principal.name, life=life, sessions=frozenset({asked.session}),
            via=via, reason=asked.reason, tasks=tasks, ttl_s=ttl_s, since_at=self.ground.now(),
            expires_at=self.ground.steady() + ttl_s,
        )  # fmt: skip
        return tx.locks.add(grant)
