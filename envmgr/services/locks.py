"""Locks: granted whole sets at a time, in one change of the store, to one holder for some time.

`take`, `give_back` and the like are plain functions of a transaction, so that other services lock as part of their own changes.
They run in the store's writer thread, one after the other: what one of them sees is true until it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from envmgr.core.derived_keys import Rule, derived
from envmgr.core.leasing import Around, Judgement, around, covers, judge, stands, stem
from envmgr.core.targets import parse_target
from envmgr.core.waits import Waits, Wish, link, queued_before, says
from envmgr.model.lock import Answer, Conflict, Grant, Link, LockPolicy, Mode, Outcome, Priority
from envmgr.model.principal import Principal
from envmgr.protocols.store import Transaction
from envmgr.services.ground import Ground, Tell
from envmgr.services.line import Line, Waiter
from envmgr.services.lock_events import about, event


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRequest:
    """Who wants what.

    Attributes:
        repo: Top of the main checkout.
        targets: Canonical texts without duplicates; all of them are granted, or none.
        ttl_s: 0 for the usual time.
        task: Its locks end with it.
    """

    principal: Principal
    repo: str
    targets: tuple[str, ...]
    mode: Mode = Mode.WRITE
    ttl_s: float = 0.0
    reason: str = ""
    task: str = ""
    priority: Priority = Priority.NORMAL


def family(principal: Principal) -> frozenset[str]:
    """Holders whose grants are not in the way: one's own, and those of whom one works for."""
    return frozenset({principal.id, principal.parent} if principal.parent else {principal.id})


Rules = Callable[[str], Sequence[Rule]]


def _none(_: str) -> str:
    return ""


def _no_rules(_: str) -> Sequence[Rule]:
    return ()


class Locks:
    """All locks of one daemon.

    Attributes:
        line: Who waits.
    """

    def __init__(
        self,
        ground: Ground,
        policy: LockPolicy,
        *,
        life: Callable[[str], str] = _none,
        rules: Rules = _no_rules,
    ) -> None:
        """`life` names the present run of an agent, empty when it does not run; `rules` are those of a repository."""
        self.ground = ground
        self.policy = policy
        self.line = Line(ground.steady, age_s=policy.age_s)
        self._life = life
        self._rules = rules
        self._seen: dict[str, float] = {}
        self._floor = ground.steady()

    def seen(self, holder: str) -> None:
        """The holder gave a sign of life: its locks count from now. Costs nothing; written down now and then."""
        self._seen[holder] = self.ground.steady()

    def signs(self) -> list[str]:
        """Who gave signs of life that may not be written down."""
        return list(self._seen)

    def forget_signs(self, *, keep: Collection[str], before: float) -> None:
        """Of those who hold nothing; whoever gave one since stays."""
        for holder, at in list(self._seen.items()):
            if holder not in keep and at <= before:
                self._seen.pop(holder, None)

    # --- changes: in the writer thread -------------------------------------------------------------------------

    def take(
        self, tx: Transaction, tell: Tell, asked: LockRequest, *, waiter: Waiter | None = None
    ) -> Answer:
        """Grant all targets or none.

        Args:
            waiter: Keeps a place in the line when they cannot be had now.
        """
        wish = waiter.wish if waiter else self._wish(asked)
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
            return self._grant(tx, asked, looked)
        warnings = tuple(warning for found in looked.values() for warning in found.warnings)
        refused = Answer(outcome=Outcome.CONFLICT, conflicts=tuple(conflicts), warnings=warnings)
        if waiter is None:
            return refused
        return self._queue(tell, waiter, refused, graph or self._graph(tx, tell))

    def waiter(self, asked: LockRequest) -> Waiter:
        """To be passed to `take`; whoever makes it takes it out of the line in the end, whatever happens."""
        return self.line.waiter(self._wish(asked), priority=asked.priority, reason=asked.reason)

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
        for key in self._keys(repo, target):
            for grant in tx.locks.around(repo, Around((stem(key),), "", "")):
                if grant.holder == holder and grant.target == key and target in grant.via:
                    left = replace(grant, via=grant.via - {target})
                    if left.via:
                        tx.locks.save(left)
                    else:
                        self.drop(tx, tell, [grant], kind="")

    def _keys(self, repo: str, target: str) -> list[str]:
        rules = self._rules(repo)
        return [key.text for key in derived([parse_target(target)], rules)] if rules else []

    def _via(self, asked: LockRequest, target: str) -> frozenset[str]:
        """As `Grant.via`."""
        brought = frozenset(one for one in asked.targets if target in self._keys(asked.repo, one))
        return brought | {"-"} if target in asked.targets else brought

    def end_task(self, tx: Transaction, tell: Tell, task: str) -> Sequence[Grant]:
        """Release what was taken for a task."""
        return self.drop(tx, tell, tx.locks.of_task(task), kind="")

    def end_session(self, tx: Transaction, tell: Tell, holder: str, session: str) -> Sequence[Grant]:
        """Release what only this session of the holder has asked for; those of its other sessions stay."""
        mine = [grant for grant in tx.locks.all(holder=holder) if session in grant.sessions]
        for grant in mine:
            if len(grant.sessions) > 1:
                tx.locks.save(replace(grant, sessions=grant.sessions - {session}))
        alone = [grant for grant in mine if len(grant.sessions) == 1]
        return self.drop(tx, tell, alone, kind="lock.lost", why=f"its session {session} has ended")

    def drop(
        self, tx: Transaction, tell: Tell, grants: Iterable[Grant], *, kind: str, why: str = ""
    ) -> list[Grant]:
        """End grants, whoever holds them; returns those that were still there.

        Args:
            kind: Event that tells each holder about it; empty when they know.
        """
        gone = [grant for grant in grants if tx.locks.drop(grant.token)]
        for grant in gone:
            if kind:
                tell(about(kind, grant, why=why))
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
        moved = replace(
            grant, holder=to.id, name=to.name, life=self._life(to.agent), task="",
            sessions=frozenset({to.session or "-"}), expires_at=self.ground.steady() + grant.ttl_s,
        )  # fmt: skip
        moved = replace(moved, token=tx.locks.add(moved))
        tell(about("lock.transferred", grant, to=to.name))
        if to.agent:
            tell(about("lock.received", moved, sender=grant.name))
        return moved

    # --- looking -----------------------------------------------------------------------------------------------

    def stands(self, grant: Grant) -> bool:
        """Whether nobody else may have it."""
        return stands(grant, self.ground.steady(), seen=self._seen, floor=self._floor, policy=self.policy)

    def expires_at(self, grant: Grant) -> float:
        """Steady time of its end as it is now: signs of life may not be written down yet."""
        return max(grant.expires_at, self._seen.get(grant.holder, 0.0) + grant.ttl_s)

    def check(self, tx: Transaction, token: int) -> Grant | None:
        """The grant that a token stands for; None for a stale one: whoever acts under it must be refused."""
        grant = tx.locks.one(token)
        return grant if grant is not None and self.stands(grant) else None

    def near(self, tx: Transaction, repo: str, target: str) -> list[Grant]:
        """Grants that stand and may overlap the target."""
        return [grant for grant in tx.locks.around(repo, around(stem(target))) if self.stands(grant)]

    def own(self, tx: Transaction, repo: str, target: str, holder: str) -> Grant | None:
        """What the holder has of exactly this target."""
        found = tx.locks.around(repo, Around((stem(target),), "", ""))
        return next(
            (one for one in found if one.target == target and one.holder == holder and self.stands(one)), None
        )

    def look(self, tx: Transaction, asked: LockRequest) -> list[Conflict]:
        """What would keep the targets from being granted, and what warns; changes nothing."""
        wish, found = self._wish(asked), []
        for target in wish.targets:
            near = self.near(tx, wish.repo, target)
            seen = judge(target, wish.mode, near, holder=wish.holder, family=wish.family)
            found += [] if _has(seen, wish.mode) else [*seen.conflicts, *seen.warnings]
        return found

    def held(self, tx: Transaction, repo: str = "", *, holder: str = "") -> list[Grant]:
        """All that stand; reads every row."""
        return [grant for grant in tx.locks.all(repo, holder=holder) if self.stands(grant)]

    # --- parts of it -------------------------------------------------------------------------------------------

    def _look(self, tx: Transaction, tell: Tell, wish: Wish, target: str) -> Judgement:
        near, standing = tx.locks.around(wish.repo, around(stem(target))), []
        for grant in near:
            if self.stands(grant):
                standing.append(grant)
            elif tx.locks.drop(grant.token):
                tell(about("lock.expired", grant))
        return judge(target, wish.mode, standing, holder=wish.holder, family=wish.family)

    def _wish(self, asked: LockRequest) -> Wish:
        keys = [key for target in asked.targets for key in self._keys(asked.repo, target)]
        return Wish(
            number=0, repo=asked.repo, targets=tuple(dict.fromkeys([*asked.targets, *keys])), mode=asked.mode,
            holder=asked.principal.id, name=asked.principal.name, family=family(asked.principal),
        )  # fmt: skip

    def _graph(self, tx: Transaction, tell: Tell) -> Waits:
        def blocks(wish: Wish) -> list[Link]:
            looked = [self._look(tx, tell, wish, target) for target in wish.targets]
            return [
                link(wish, conflict)
                for found in looked
                if not _has(found, wish.mode)
                for conflict in found.conflicts
            ]

        return Waits(self.line.wishes(), blocks, self.ground.steady(), age_s=self.policy.age_s)

    def _queue(self, tell: Tell, waiter: Waiter, refused: Answer, graph: Waits) -> Answer:
        """Into the line, or back to it, unless that wait would have no end."""
        wish = waiter.wish
        if cycle := graph.cycle(wish):
            self.line.leave(wish.number)
            tell(
                event(
                    "lock.deadlock",
                    wish.holder,
                    targets=list(wish.targets),
                    cycle=[says(step) for step in cycle],
                )
            )
            return replace(refused, outcome=Outcome.DEADLOCK, cycle=cycle)
        if not self.line.enter(waiter):
            holders = sorted({conflict.grant.name for conflict in refused.conflicts})
            tell(event("lock.waiting", wish.holder, targets=list(wish.targets), holders=holders))
        return replace(refused, outcome=Outcome.QUEUED, position=self.line.position(wish))

    def _grant(self, tx: Transaction, asked: LockRequest, looked: dict[str, Judgement]) -> Answer:
        grants, refreshed = [], set()
        for target, found in looked.items():
            if found.own is not None and covers(found.own.mode, asked.mode):
                refreshed.add(target)
                grants.append(self._refresh(tx, found.own, asked))
            else:
                grants.append(self._add(tx, asked, target, found.own))
        warnings = tuple(warning for found in looked.values() for warning in found.warnings)
        return Answer(
            outcome=Outcome.GRANTED, grants=tuple(grants), refreshed=frozenset(refreshed), warnings=warnings
        )

    def _refresh(self, tx: Transaction, own: Grant, asked: LockRequest) -> Grant:
        ttl_s = asked.ttl_s or own.ttl_s
        fresh = replace(
            own,
            ttl_s=ttl_s,
            expires_at=self.ground.steady() + ttl_s,
            life=self._life(asked.principal.agent),
            sessions=own.sessions | {asked.principal.session or "-"},
            via=own.via | self._via(asked, own.target),
            reason=asked.reason or own.reason,
            # What somebody asked for beside the task does not end with it.
            task=own.task if own.task == asked.task else "",
        )
        tx.locks.save(fresh)
        return fresh

    def _add(self, tx: Transaction, asked: LockRequest, target: str, weaker: Grant | None) -> Grant:
        """A weaker one is replaced: others may have had higher tokens meanwhile."""
        if weaker is not None:
            tx.locks.drop(weaker.token)
        ttl_s = asked.ttl_s or self.policy.ttl_s
        grant = Grant(
            token=0, repo=asked.repo, stem=stem(target), target=target, mode=asked.mode,
            holder=asked.principal.id, name=asked.principal.name, life=self._life(asked.principal.agent),
            sessions=frozenset({asked.principal.session or "-"}), via=self._via(asked, target), reason=asked.reason, task=asked.task,
            ttl_s=ttl_s, since_at=self.ground.now(), expires_at=self.ground.steady() + ttl_s,
        )  # fmt: skip
        return replace(grant, token=tx.locks.add(grant))

    def _tell_free(self, tell: Tell, repo: str, target: str, holder: str) -> None:
        """An event only if somebody waits: what everybody did is in the audit trail."""
        if self.line.is_anybody():
            tell(event("lock.released", holder, repo=repo, target=target))


def _has(found: Judgement, mode: Mode) -> bool:
    return found.own is not None and covers(found.own.mode, mode)
