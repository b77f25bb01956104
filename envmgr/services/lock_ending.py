"""How grants end, and how they go from one holder to another, with the keys that came with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from envmgr.core.leasing import Around, covers, is_same_life, stem
from envmgr.model.event import NewEvent
from envmgr.model.lock import BESIDE_TASKS, Conflict, Grant, LockPolicy
from envmgr.model.principal import Principal
from envmgr.protocols.store import Transaction
from envmgr.services.ground import Ground, Tell
from envmgr.services.lock_book import ITSELF, LockBook, LockRequest, Rules, no_rules, nothing
from envmgr.services.lock_events import lost, received, released, transferred

Tells = Callable[[Grant], NewEvent]


class LockEnding(LockBook):
    """Each of these is a function of a transaction, in the store's writer thread."""

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

    def give_back(
        self, tx: Transaction, tell: Tell, *, repo: str, holder: str, targets: Iterable[str]
    ) -> dict[str, int]:
        """Release what the holder has of exactly these targets, and what only they brought; returns the tokens by target."""
        gone: dict[str, int] = {}
        for target in targets:
            if token := tx.locks.take_back(repo, stem(target), target, holder):
                gone[target] = token
                self._tell_free(tell, repo, target, holder)
                keys = self.drop(tx, tell, self._unbrought(tx, repo, target, holder))
                gone |= {key.target: key.token for key in keys}
        return gone

    def end_task(self, tx: Transaction, tell: Tell, task: str) -> Sequence[Grant]:
        """Release what was taken for this task alone; what was asked for beside it, or for another one too, stays."""
        found = tx.locks.of_task(task)
        for grant in found:
            if len(grant.tasks) > 1:
                tx.locks.save(replace(grant, tasks=grant.tasks - {task}))
        return self.drop(tx, tell, [grant for grant in found if len(grant.tasks) == 1])

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

    def drop_with_keys(
        self, tx: Transaction, tell: Tell, grants: Iterable[Grant], *, tells: Tells
    ) -> list[Grant]:
        """The same, and what only they brought ends with them."""
        gone = self.drop(tx, tell, grants, tells=tells)
        for grant in tuple(gone):
            keys = self._unbrought(tx, grant.repo, grant.target, grant.holder)
            gone += self.drop(tx, tell, keys, tells=tells)
        return gone

    def prolong(self, tx: Transaction, grant: Grant, ttl_s: float) -> Grant:
        """Count the grant's time from now."""
        until = self.ground.steady() + ttl_s
        tx.locks.extend(grant.token, ttl_s=ttl_s, expires_at=until)
        return replace(grant, ttl_s=ttl_s, expires_at=until)

    # --- from one to another -----------------------------------------------------------------------------------

    def with_keys(self, tx: Transaction, grants: Sequence[Grant]) -> list[Grant]:
        """These grants of one holder, and those of its keys that nothing but these has brought."""
        going = {grant.token: grant for grant in grants}
        targets = {grant.target for grant in grants}
        for grant in grants:
            for key in self.keys(grant.repo, grant.target):
                found = self.own(tx, grant.repo, key, grant.holder)
                if found is not None and found.via <= targets:
                    going.setdefault(found.token, found)
        return list(going.values())

    def in_the_way_of(
        self, tx: Transaction, grants: Sequence[Grant], to: Principal
    ) -> list[tuple[Grant, Conflict]]:
        """Which of these cannot be given to somebody, all together, and why: what stays with others, or what a key meets."""
        moving = {grant.token for grant in grants}
        found: list[tuple[Grant, Conflict]] = []
        for grant in grants:
            asked = LockRequest(principal=to, repo=grant.repo, targets=(grant.target,), mode=grant.mode)
            met = (one for one in self.look(tx, asked) if one.grant.token not in moving)
            found += [(grant, one) for one in met]
        return found

    def movable(self, tx: Transaction, grants: Sequence[Grant], to: Principal) -> Sequence[Grant]:
        """As many of these as can be given to somebody."""
        while True:
            kept = {ITSELF, *(grant.target for grant in grants)}
            stuck = {grant.token for grant, _ in self.in_the_way_of(tx, grants, to)}
            left = [grant for grant in grants if grant.token not in stuck and grant.via & kept]
            if len(left) == len(grants):
                return left
            grants = left

    def hand_over(self, tx: Transaction, tell: Tell, grants: Sequence[Grant], to: Principal) -> list[Grant]:
        """Give grants of one holder to another; nothing may be in the way. The old tokens are worth nothing any more.

        What the other one has already that lets it do the same stays as it is: an announcement takes nobody's lock away.
        """
        kept = {ITSELF, *(grant.target for grant in grants)}
        moved = [self._hand_over(tx, tell, replace(grant, via=grant.via & kept), to) for grant in grants]
        for grant in grants:
            self.drop(tx, tell, self._unbrought(tx, grant.repo, grant.target, grant.holder))
        return moved

    def _hand_over(self, tx: Transaction, tell: Tell, grant: Grant, to: Principal) -> Grant:
        tx.locks.drop(grant.token)
        tell(transferred(grant, to.name))
        self._tell_free(tell, grant.repo, grant.target, grant.holder)  # to the new holder it is
        theirs, life = self.own(tx, grant.repo, grant.target, to.id), self._life(to.agent)
        via = grant.via or frozenset({ITSELF})
        if theirs is not None:
            if covers(theirs.mode, grant.mode) and is_same_life(theirs.life, life):
                return theirs
            tx.locks.drop(theirs.token)
            via |= theirs.via
        moved = replace(
            grant, holder=to.id, name=to.name, life=life, tasks=BESIDE_TASKS, via=via,
            sessions=frozenset({to.session or ITSELF}), expires_at=self.ground.steady() + grant.ttl_s,
        )  # fmt: skip
        moved = tx.locks.add(moved)
        if to.agent:
            tell(received(moved, grant.name))
        return moved

    # --- parts of it -------------------------------------------------------------------------------------------

    def _unbrought(self, tx: Transaction, repo: str, target: str, holder: str) -> list[Grant]:
        """The holder has the target no more: returns the keys that nothing brings any longer."""
        alone = []
        for key in self.keys(repo, target):
            for grant in tx.locks.around(repo, Around((stem(key),), "", "")):
                if grant.holder == holder and grant.target == key and target in grant.via:
                    left = replace(grant, via=grant.via - {target})
                    if left.via:
                        tx.locks.save(left)
                    else:
                        alone.append(grant)
        return alone

    def _tell_free(self, tell: Tell, repo: str, target: str, holder: str) -> None:
        """An event only if somebody waits: what everybody did is in the audit trail."""
        if self.line.is_anybody():
            tell(released(repo, target, holder))
