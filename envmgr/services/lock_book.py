"""What is known of locks: rules, signs of life, and looks at what is held. `services.locks` changes it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from envmgr.core.derived_keys import Rule, derived
from envmgr.core.leasing import Around, around, judge, stands, stem
from envmgr.core.targets import parse_target
from envmgr.core.wait_graph import Needs, Waits
from envmgr.core.waits import Wish, link
from envmgr.model.lock import BESIDE_TASKS, Conflict, Grant, LockPolicy, Mode, Priority
from envmgr.model.principal import Principal
from envmgr.protocols.store import Transaction
from envmgr.services.ground import Ground
from envmgr.services.line import Line

ITSELF = "-"
"""In `Grant.via`: it was asked for itself. In `Grant.sessions`: by a session that did not say which it is."""


_BY_ITSELF = frozenset({ITSELF})


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

    @property
    def session(self) -> str:
        """As `Grant.sessions` has it."""
        return self.principal.session or ITSELF

    @property
    def tasks(self) -> frozenset[str]:
        """As `Grant.tasks` has it."""
        return frozenset({self.task}) if self.task else BESIDE_TASKS


def family(principal: Principal) -> frozenset[str]:
    """Holders whose grants are not in the way: one's own, and those of whom one works for."""
    return frozenset({principal.id, principal.parent} if principal.parent else {principal.id})


Rules = Callable[[str], Sequence[Rule]]


def nothing(_: str) -> str:
    """Of an agent of which no life is known."""
    return ""


def no_rules(_: str) -> Sequence[Rule]:
    """Of a repository without rules."""
    return ()


class LockBook:
    """All that can be asked about locks.

    Attributes:
        line: Who waits.
    """

    def __init__(self, ground: Ground, policy: LockPolicy, *, rules: Rules = no_rules) -> None:
        """`rules` are those of a repository; called in the store's threads."""
        self.ground = ground
        self.policy = policy
        self.line = Line(ground.steady, age_s=policy.age_s)
        self._rules = rules
        self._seen: dict[str, float] = {}
        self._floor = ground.steady()

    # --- signs of life: any thread ------------------------------------------------------------------------------

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

    def stands(self, grant: Grant) -> bool:
        """Whether nobody else may have it."""
        return stands(grant, self.ground.steady(), seen=self._seen, floor=self._floor, policy=self.policy)

    def expires_at(self, grant: Grant) -> float:
        """Steady time of its end as it is now: signs of life may not be written down yet."""
        return max(grant.expires_at, self._seen.get(grant.holder, 0.0) + grant.ttl_s)

    # --- looks: functions of a transaction ----------------------------------------------------------------------

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
        mine = (grant for grant in found if grant.target == target and grant.holder == holder)
        return next((grant for grant in mine if self.stands(grant)), None)

    def look(self, tx: Transaction, asked: LockRequest) -> list[Conflict]:
        """What would keep the targets from being granted now, those who wait not counted; changes nothing."""
        found: list[Conflict] = []
        who = asked.principal
        for target in self.wanted(asked):
            near = self.near(tx, asked.repo, target)
            seen = judge(target, asked.mode, near, holder=who.id, family=family(who))
            if not seen.has(asked.mode):
                found += seen.conflicts
        return found

    def graph(self, tx: Transaction) -> Waits:
        """Who waits for whom at this moment; what is asked of the store is asked once."""
        near = cache(lambda repo, target: self.near(tx, repo, target))

        def needs(wish: Wish) -> Needs:
            looked = {
                target: judge(
                    target, wish.mode, near(wish.repo, target), holder=wish.holder, family=wish.family
                )
                for target in wish.targets
            }
            lacking = [target for target, found in looked.items() if not found.has(wish.mode)]
            links = [link(wish, conflict) for target in lacking for conflict in looked[target].conflicts]
            is_all = len(lacking) == len(looked)
            return Needs(wish if is_all else replace(wish, targets=tuple(lacking)), links)

        return Waits(
            self.line.wishes(), needs, self.ground.steady(), age_s=self.policy.age_s, holds=tx.locks.has_any
        )  # fmt: skip

    def held(self, tx: Transaction, repo: str = "", *, holder: str = "") -> list[Grant]:
        """All that stand; reads every row."""
        return [grant for grant in tx.locks.all(repo, holder=holder) if self.stands(grant)]

    # --- what is wanted -----------------------------------------------------------------------------------------

    def keys(self, repo: str, target: str) -> list[str]:
        """What is locked together with the target, by the rules of the repository."""
        rules = self._rules(repo)
        return [key.text for key in derived([parse_target(target)], rules)] if rules else []

    def wanted(self, asked: LockRequest) -> dict[str, frozenset[str]]:
        """All targets, those that follow from rules last, with what brings each; see `Grant.via`."""
        brought = dict.fromkeys(asked.targets, _BY_ITSELF)
        for target in asked.targets:
            for key in self.keys(asked.repo, target):
                brought[key] = brought.get(key, frozenset()) | {target}
        return brought

    def wish(self, asked: LockRequest, targets: Iterable[str]) -> Wish:
        """The same as others see it who want something, too.

        Args:
            targets: All that are wanted.
        """
        return Wish(
            number=0, repo=asked.repo, targets=tuple(targets), mode=asked.mode, priority=asked.priority,
            holder=asked.principal.id, name=asked.principal.name, family=family(asked.principal), reason=asked.reason,
        )  # fmt: skip
