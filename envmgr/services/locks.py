"""Locks: granted whole sets at a time, in one change of the store, to one holder for some time.

`take`, `give_back` and the like are plain functions of a transaction, so that other services lock as part of their own changes.
They run in the store's writer thread, one after the other: what one of them sees is true until it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from envmgr.core.leasing import Around, Judgement, around, covers, is_same_life, judge, stem
from envmgr.core.waits import Waits, Wish, link, queued_before
from envmgr.model.event import NewEvent
from envmgr.model.lock import Answer, Grant, Link, LockPolicy, Mode, Outcome
from envmgr.model.principal import Principal
from envmgr.protocols.store import Transaction
from envmgr.services.ground import Ground, Tell
from envmgr.services.line import Waiter
from envmgr.services.lock_book import ITSELF, LockBook, LockRequest, Rules, no_rules, nothing
from envmgr.services.lock_events import deadlock, expired, lost, received, released, transferred, waiting

__all__ = ["LockRequest", "Locks"]

Tells = Callable[[Grant], NewEvent]


class Locks(LockBook):
    """All locks of one daemon."""

    def __init__(
        self,
        ground: Ground,
        policy: LockPolicy,
        *,
        life: Callable[[str], str] = nothing,
        rules: Rules = no_rules,
    ) -> None:
        """`life` names the present run of an agent; empty when it does not run. Called in the store's threads."""
        super().__init__(ground, policy, rules=rules)
        self._life = life

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
        lacking = tuple(target for target, found in looked.items() if not _has(found, asked.mode))
        conflicts = [conflict for target in lacking for conflict in looked[target].conflicts]
        graph = None
        if lacking and self.line.is_anybody(but=wish.number):
            graph = self._graph(tx, tell)
            part = replace(wish, targets=lacking)
            conflicts += [queued_before(part, one) for one in graph.bars(part)]
        if not conflicts:
            self.line.leave(wish.number)
            return self._grant(tx, asked, looked, wanted)
        warnings = tuple(warning for found in looked.values() for warning in found.warnings)
        refused = Answer(outcome=Outcome.CONFLICT, conflicts=tuple(conflicts), warnings=warnings)
        if waiter is None:
            return refused
        return self._queue(tell, waiter, refused, graph or self._graph(tx, tell))

    def waiter(self, asked: LockRequest) -> Waiter:
        """To be passed to `take`; whoever makes it takes it out of the line in the end, whatever happens."""
        return self.line.waiter(self.wish(asked, self.wanted(asked)))

    def give_back(
        self, tx: Transaction, tell: Tell, *, repo: str, holder: str, targets: Iterable[str]
    ) -> list[int]:
        """Release what the holder has of exactly these targets; returns the tokens, 0 where it had none."""
        gone = []
        for target in targets:
            token = tx.locks.take_back(repo, stem(target), target, holder)
            gone.append(token)
            if token:
                self._tell_free(tell, repo, target, holder)
                self._let_go_of_keys(tx, tell, repo, target, holder)
        return gone

    def _let_go_of_keys(self, tx: Transaction, tell: Tell, repo: str, target: str, holder: str) -> None:
        """What the path brought goes with it, unless something else brought it, too."""
        for key in self.keys(repo, target):
            for grant in tx.locks.around(repo, Around((stem(key),), "", "")):
                if grant.holder == holder and grant.target == key and target in grant.via:
                    left = replace(grant, via=grant.via - {target})
                    if left.via:
                        tx.locks.save(left)
                    else:
                        self.drop(tx, tell, [grant])

    def end_task(self, tx: Transaction, tell: Tell, task: str) -> Sequence[Grant]:
        """Release what was taken for a task."""
        return self.drop(tx, tell, tx.locks.of_task(task))

    def end_session(self, tx: Transaction, tell: Tell, holder: str, session: str) -> Sequence[Grant]:
        """Release what only this session of the holder has asked for; those of its other sessions stay."""
        mine = [grant for grant in tx.locks.all(holder=holder) if session in grant.sessions]
        for grant in mine:
            if len(grant.sessions) > 1:
                tx.locks.save(replace(grant, sessions=grant.sessions - {session}))
        alone = [grant for grant in mine if len(grant.sessions) == 1]
        named = "" if session == ITSELF else f" {session}"
        return self.drop(tx, tell, alone, tells=partial(lost, why=f"its session{named} has ended"))

    def drop(
        self, tx: Transaction, tell: Tell, grants: Iterable[Grant], *, tells: Tells | None = None
    ) -> list[Grant]:
        """End grants, whoever holds them; returns those that were still there.

        Args:
            tells: Makes the event that tells each holder; without it they know.
        """
        gone = [grant for grant in grants if tx.locks.drop(grant.token)]
        for grant in gone:
            if tells is not None:
                tell(tells(grant))
            self._tell_free(tell, grant.repo, grant.target, grant.holder)
        return gone

    def prolong(self, tx: Transaction, grant: Grant, ttl_s: float) -> Grant:
        """Count the grant's time from now."""
        until = self.ground.steady() + ttl_s
        tx.locks.extend(grant.token, ttl_s=ttl_s, expires_at=until)
        return replace(grant, ttl_s=ttl_s, expires_at=until)

    def hand_over(self, tx: Transaction, tell: Tell, grant: Grant, to: Principal) -> Grant:
        """Give a grant to another holder, under a new token: the old one is worth nothing any more."""
        tx.locks.drop(grant.token)
        if (theirs := self.own(tx, grant.repo, grant.target, to.id)) is not None:
            tx.locks.drop(theirs.token)
        moved = replace(
            grant, holder=to.id, name=to.name, life=self._life(to.agent), task="",
            sessions=frozenset({to.session or ITSELF}), expires_at=self.ground.steady() + grant.ttl_s,
        )  # fmt: skip
        moved = tx.locks.add(moved)
        tell(transferred(grant, to.name))
        self._tell_free(tell, grant.repo, grant.target, grant.holder)  # to the new holder it is
        if to.agent:
            tell(received(moved, grant.name))
        return moved

    # --- parts of it -------------------------------------------------------------------------------------------

    def _look(self, tx: Transaction, tell: Tell, wish: Wish, target: str) -> Judgement:
        near, standing = tx.locks.around(wish.repo, around(stem(target))), []
        for grant in near:
            if self.stands(grant):
                standing.append(grant)
            else:
                self.drop(tx, tell, [grant], tells=expired)
        return judge(target, wish.mode, standing, holder=wish.holder, family=wish.family)

    def _graph(self, tx: Transaction, tell: Tell) -> Waits:
        def blocks(wish: Wish) -> list[Link]:
            looked = [self._look(tx, tell, wish, target) for target in wish.targets]
            return [
                link(wish, conflict)
                for found in looked
                if not _has(found, wish.mode)
                for conflict in found.conflicts
            ]

        return Waits(
            self.line.wishes(), blocks, self.ground.steady(), age_s=self.policy.age_s, holds=tx.locks.has_any
        )  # fmt: skip

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
        # What somebody asked for beside the task does not end with it.
        task = own.task if own.task == asked.task else ""
        life = own.life if life.endswith("/0") else life  # what is known of the run is not forgotten
        fresh = replace(
            own, ttl_s=ttl_s, expires_at=self.ground.steady() + ttl_s, life=life, sessions=own.sessions | {asked.session},
            via=own.via | via, reason=asked.reason or own.reason, task=task,
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
        if instead_of is not None:
            tx.locks.drop(instead_of.token)
            via |= instead_of.via
        ttl_s = asked.ttl_s or self.policy.ttl_s
        grant = Grant(
            token=0, repo=asked.repo, stem=stem(target), target=target, mode=asked.mode,
            holder=asked.principal.id, name=asked.principal.name, life=life, sessions=frozenset({asked.session}),
            via=via, reason=asked.reason, task=asked.task, ttl_s=ttl_s, since_at=self.ground.now(),
            expires_at=self.ground.steady() + ttl_s,
        )  # fmt: skip
        return tx.locks.add(grant)

    def _tell_free(self, tell: Tell, repo: str, target: str, holder: str) -> None:
        """An event only if somebody waits: what everybody did is in the audit trail."""
        if self.line.is_anybody():
            tell(released(repo, target, holder))


def _has(found: Judgement, mode: Mode) -> bool:
    return found.own is not None and covers(found.own.mode, mode)
