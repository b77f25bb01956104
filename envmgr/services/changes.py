"""What agents write: kept for a while, compared with what others hold, and told to those whom it concerns.

Whoever watches the files reports to `observed`; how they see what was written is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from envmgr.core import telling
from envmgr.core.overlap import has_path
from envmgr.core.targets import parse_target, path_target
from envmgr.errors import UsageError
from envmgr.model.event import NewEvent
from envmgr.model.lock import Grant, Mode
from envmgr.model.observed import Evidence, ObservedChange, Told, Write
from envmgr.model.principal import DAEMON, Principal
from envmgr.protocols.store import Transaction
from envmgr.services.calls import Call, answering
from envmgr.services.ground import Ground, Tell
from envmgr.services.lock_book import LockBook
from envmgr.services.lock_events import is_agent
from envmgr.services.mentions import Mentions

_AT_ONCE = 200  # files in one change of the store, so that others get their turn
_NAMED = 5
_OWN_PATHS = 200
_NEWS = 500
_PRUNED = 1000
_AGAIN_S = 60.0
_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRules:
    """How much is kept.

    Attributes:
        keep_s: Changes older than this are forgotten.
        most: Of one agent in one repository.
    """

    keep_s: float = 86_400.0
    most: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who wrote.

    Attributes:
        agent: Id; empty when nobody knows.
        repo: Top of the main checkout.
        is_main: In the main checkout.
        suspects: Names of agents that may have been it.
    """

    agent: str
    name: str
    repo: str
    is_main: bool = False
    evidence: Evidence = Evidence.WORKTREE
    suspects: tuple[str, ...] = ()


@dataclass(slots=True)
class Changes:
    """The service. `mentions` is what assistants said of the main checkout."""

    ground: Ground
    locks: LockBook
    rules: ChangeRules = ChangeRules()
    mentions: Mentions = field(init=False)
    _looked: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.mentions = Mentions(self.ground.now)

    # --- observing -----------------------------------------------------------------------------------------------

    async def observed(self, writer: Writer, writes: Sequence[Write]) -> None:
        """Keep these; those that others have locked are violations, told to both and in the audit trail."""
        for start in range(0, len(writes), _AT_ONCE):
            await self._some(writer, writes[start : start + _AT_ONCE])
        if writer.is_main and writes:
            await self._tell_main(writer, writes)

    async def _some(self, writer: Writer, writes: Sequence[Write]) -> None:
        barred = await self.ground.read(lambda tx: self._barred(tx, writer, writes))
        bad = {write.path for _, broken in barred.values() for write in broken}
        if good := [write for write in writes if write.path not in bad]:
            await self.ground.write(lambda tx, tell: self._keep(tx, writer, good))
        for grant, broken in barred.values():
            await self._violated(writer, grant, broken)

    def _barred(
        self, tx: Transaction, writer: Writer, writes: Sequence[Write]
    ) -> dict[int, tuple[Grant, list[Write]]]:
        """By the grant of somebody else that stood when they were made."""
        found: dict[int, tuple[Grant, list[Write]]] = {}
        now = self.ground.now()
        for write in writes:
            try:
                near = self.locks.near(tx, writer.repo, path_target(write.path).text)
            except UsageError:  # no name that could be locked
                continue
            for grant in near:
                is_others = grant.holder != writer.agent and grant.mode is not Mode.INTENT
                # One that is of later than now was taken before the clock was set back.
                was_there = grant.since_at <= write.at or grant.since_at > now
                if is_others and was_there and has_path(parse_target(grant.target), write.path):
                    found.setdefault(grant.token, (grant, []))[1].append(write)
                    break
        return found

    def _keep(
        self, tx: Transaction, writer: Writer, writes: Sequence[Write], grant: Grant | None = None
    ) -> list[str]:
        """Returns the paths that were not known to be barred by this grant."""
        fresh = []
        for write in writes:
            change = _change(writer, write, grant)
            before = tx.changes.one(writer.repo, writer.agent, write.path, is_main=writer.is_main)
            if before is not None and grant is not None and before.violates == grant.token:
                if write.at - before.at < _AGAIN_S:
                    continue
            else:
                fresh.append(write.path)
            tx.changes.put(change)
        tx.changes.keep(writer.repo, writer.agent, most=self.rules.most)
        return fresh

    async def _violated(self, writer: Writer, grant: Grant, writes: Sequence[Write]) -> None:
        result: dict[str, object] = {"writer": writer.name, "holder": grant.name, "token": grant.token}
        call = Call(
            principal=DAEMON, operation="lock.violation", at=self.ground.now(), target=grant.target, result=result
        )  # fmt: skip

        def change(tx: Transaction, tell: Tell) -> bool:
            fresh = self._keep(tx, writer, writes, grant)
            if fresh:
                result["files"] = fresh[:_NAMED]
                said = _said(writer, fresh) | {
                    "target": grant.target, "mode": grant.mode.value, "token": grant.token, "reason": grant.reason,
                }  # fmt: skip
                tell(_event("lock.violation", writer.agent, said | {"holder": grant.name}))
                tell(_event("lock.violated", grant.holder, said | {"writer": writer.name}))
            return bool(fresh)

        if not await self.ground.read(lambda tx: self._is_new(tx, writer, grant, writes)):
            await self.ground.write(lambda tx, tell: self._keep(tx, writer, writes, grant))
            return
        with answering(call):
            await self.ground.write(change)

    def _is_new(self, tx: Transaction, writer: Writer, grant: Grant, writes: Sequence[Write]) -> bool:
        known = (
            tx.changes.one(writer.repo, writer.agent, write.path, is_main=writer.is_main) for write in writes
        )
        return any(one is None or one.violates != grant.token for one in known)

    async def _tell_main(self, writer: Writer, writes: Sequence[Write]) -> None:
        said = _said(writer, [write.path for write in writes]) | {
            "evidence": writer.evidence.value, "agents": list(writer.suspects),
        }  # fmt: skip
        await self.ground.write(lambda tx, tell: tell(_event("change.main_checkout", writer.agent, said)))

    # --- telling -------------------------------------------------------------------------------------------------

    async def notes(self, who: str, repo: str, *, is_full: bool) -> list[str]:
        """What somebody (`Principal.id`) should know about the others and has not been told; one line each, no line twice.

        Args:
            is_full: Also what does not concern them; else nothing is told unless something does, and then all of it, because
                nothing is told later that was known now.
        """
        now = self.ground.steady()
        if not is_full and now - self._looked.get(who, 0.0) < _PAUSE_S:
            return []
        self._looked[who] = now
        known, before, news = await self.ground.read(lambda tx: self._news(tx, who, repo))
        lines = telling.urgent(news)
        is_told = bool(lines) or is_full
        lines += telling.rest(news) if is_told else []
        told = telling.upto(news, before) if is_told else before
        if told != known:
            await self.ground.write(lambda tx, tell: tx.changes.tell(who, told))
        return lines

    async def warn(self, principal: Principal, repo: str) -> Sequence[str]:
        """As sessions ask for it with each heartbeat."""
        return await self.notes(principal.id, repo, is_full=True)

    def _news(self, tx: Transaction, who: str, repo: str) -> tuple[Told | None, Told, telling.News]:
        """How far it has been told as written down, and as it is meant, and what there is since."""
        known = tx.changes.told(who)
        before = known or Told()
        changes = tx.changes.recent(repo, after=before.change, limit=_NEWS)
        if known is None:  # what others did before it came is no news
            before = Told(change=changes[0].seq if changes else 0)
            changes = [change for change in changes if who in (change.agent, change.holder)]
        held = self.locks.held(tx, repo)
        mine = tx.changes.recent(repo, agent=who, limit=_OWN_PATHS)
        news = telling.News(
            agent=who,
            own=[grant for grant in held if grant.holder == who],
            paths=frozenset(change.path for change in mine if not change.is_main),
            changes=changes,
            grants=[grant for grant in held if grant.token > before.token],
        )
        return known, before, news

    async def forget(self, agent: str) -> None:
        """It is removed: nobody needs to know any more what it has been told."""
        self._looked.pop(agent, None)
        await self.ground.write(lambda tx, tell: tx.changes.forget(agent))

    # --- looking and keeping -------------------------------------------------------------------------------------

    async def recent(
        self, repo: str, *, agent: str | None = None, since_at: float = 0.0, limit: int = 100
    ) -> Sequence[ObservedChange]:
        """Newest first; of one agent, or of all."""
        oldest = max(since_at, self.ground.now() - self.rules.keep_s)
        return await self.ground.read(
            lambda tx: tx.changes.recent(repo, agent=agent, since_at=oldest, limit=limit)
        )

    async def prune(self) -> None:
        """Forget what is old."""
        before_at = self.ground.now() - self.rules.keep_s
        while await self.ground.write(
            lambda tx, tell: tx.changes.prune(before_at=before_at, at_most=_PRUNED)
        ):
            pass


def _change(writer: Writer, write: Write, grant: Grant | None) -> ObservedChange:
    made = ObservedChange(
        path=write.path, kind=write.kind, at=write.at, repo=writer.repo, agent=writer.agent, name=writer.name,
        is_main=writer.is_main, evidence=writer.evidence,
    )  # fmt: skip
    if grant is None:
        return made
    return replace(made, violates=grant.token, holder=grant.holder, holder_name=grant.name)


def _event(kind: str, who: str, data: Mapping[str, object]) -> NewEvent:
    return NewEvent(kind=kind, agent=who if is_agent(who) else "", data=data)


def _said(writer: Writer, paths: Sequence[str]) -> dict[str, object]:
    return {
        "repo": writer.repo,
        "files": list(paths[:_NAMED]),
        "count": len(paths),
        "is_main": writer.is_main,
    }
