"""Agents whose template says `queue: auto` get the next fitting task whenever they are idle.

A level, not an edge: each turn looks at what every such agent is, what it was given and what became of that; events only make
a turn come sooner. What an agent has of the queue is noted in the claim's own change, so a daemon that dies loses no task.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

import anyio
from anyio.abc import TaskGroup

from envmgr.aio import tasks
from envmgr.core.shells import SHELLS
from envmgr.errors import Conflict, EnvmgrError, NotFound
from envmgr.model.agent import Activity, Desired, Lifecycle
from envmgr.model.event import NewEvent
from envmgr.model.ids import AgentId
from envmgr.model.principal import AGENT_SCOPES, DAEMON, Principal, PrincipalKind
from envmgr.model.task import LEASED, Task
from envmgr.protocols.store import Transaction
from envmgr.runtime import conversation, delivery
from envmgr.runtime.actor import Actor
from envmgr.runtime.conversation import Phase
from envmgr.runtime.dispatching import errand as errands
from envmgr.runtime.dispatching import words
from envmgr.runtime.dispatching.errand import Errand, Stage
from envmgr.runtime.dispatching.finishing import Finishing, shown_failure
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.steps.assistant import alive_pane
from envmgr.runtime.supervisor import Supervisor
from envmgr.services.calls import Call, answering
from envmgr.services.queue.claiming import Claimed
from envmgr.services.queue.queue import Queue, Report

log = logging.getLogger(__name__)

_WAKES = ("task.", "agent.", "activity.", "assistant.")
_REST_S, _LONGEST_REST_S = 60.0, 3600.0
_BUSY = frozenset({Activity.WORKING, Activity.AWAITING_INPUT, Activity.VALIDATING})

Brief = Callable[[Claimed], Awaitable[str]]
"""What is known that helps with a task, for the prompt."""


class Dispatcher:
    """One per daemon."""

    def __init__(
        self, supervisor: Supervisor, queue: Queue, *, period_s: float, lease_s: float, brief: Brief
    ) -> None:
        """`lease_s`: of the queue; leases of assistants that are at work are renewed three times in it."""
        self._supervisor = supervisor
        self._queue = queue
        self._period_s = period_s
        self._beat_s = lease_s / 3
        self._brief = brief
        self._finishing = Finishing(supervisor, queue, told=self._note, report=report_of)
        self._served: set[AgentId] = set()
        # Agents that neither have a task of ours nor get one; only `queue: auto`, which a reload may bring, changes that.
        self._left_alone: set[AgentId] = set()
        self._beaten: dict[AgentId, float] = {}
        self._not_before: dict[AgentId, float] = {}
        self._failures: dict[AgentId, int] = {}
        self._group: TaskGroup | None = None

    def start(self, group: TaskGroup) -> None:
        """From now on; agents have been adopted."""
        self._group = group
        tasks.keep(group, "giving out tasks", self._run)

    async def _run(self) -> None:
        with self._supervisor.bus.subscribe(*_WAKES) as subscription:
            while True:
                self._turn()
                with anyio.move_on_after(self._period_s):
                    if not await subscription.next():
                        return

    def _turn(self) -> None:
        """Each agent is served in a task of its own: telling an assistant takes seconds, checks may take minutes."""
        assert self._group is not None, "started"
        actors = self._supervisor.actors()
        self._left_alone &= {actor.state.id for actor in actors}
        for actor in actors:
            agent = actor.state.id
            if actor.spec.queue.mode != "auto" and agent in self._left_alone:
                continue
            if agent not in self._served and actor.state.lifecycle is Lifecycle.RUNNING:
                self._served.add(agent)
                tasks.start(self._group, "giving out tasks", self._serve, actor)

    async def _serve(self, actor: Actor) -> None:
        state = actor.state
        call = Call(
            principal=DAEMON, operation="task.dispatch", params={"agent": state.name}, is_written=True
        )
        try:
            with answering(call):
                store = self._supervisor.systems.store
                self._left_alone.discard(state.id)
                errand = await store.read(lambda tx: errands.read(tx, state.id))
                if errand is not None:
                    await self._follow(actor, errand)
                elif actor.spec.queue.mode != "auto":
                    self._left_alone.add(state.id)
                elif self._is_idle(actor):
                    await self._give(actor)
        finally:
            self._served.discard(state.id)

    # --- giving ------------------------------------------------------------------------------------------

    def _is_idle(self, actor: Actor) -> bool:
        """It would take a prompt, and nothing is being done to it or decided about it."""
        state, inc = actor.state, actor.incarnation
        if inc is None or inc.generation != state.generation or self._supervisor.safe_mode:
            return False
        is_ready = state.activity is Activity.READY or (state.activity is None and not inc.assistant.reports)
        is_at_peace = (
            state.lifecycle is Lifecycle.RUNNING
            and state.desired is Desired.RUNNING
            and state.rung is None
            and not (actor.in_hand or actor.restoring or actor.busy.locked())
            and actor.climbing is None
        )
        rests_until = self._not_before.get(state.id, 0.0)
        return is_ready and is_at_peace and self._supervisor.systems.steady() >= rests_until

    async def _give(self, actor: Actor) -> None:
        inc = actor.incarnation
        assert inc is not None, "it is idle"
        if await conversation.pending(inc) is not None:
            return  # somebody else's prompt is under way
        if await self._supervisor.systems.store.read(lambda tx: bool(tx.tasks.leased(holder=inc.id))):
            return  # it has taken one itself
        policy = actor.spec.queue
        who = principal_of(actor)

        def note(tx: Transaction, task: Task) -> None:
            errands.write(tx, inc.id, errands.of(task, inc.generation))

        call = Call(principal=DAEMON, operation="task.dispatch", params={"agent": inc.name})
        with answering(call):
            if not await self._has_ready(actor):
                return
            found = await self._queue.claim(
                repo=actor.spec.repo,
                who=who,
                types=policy.types,
                capabilities=actor.spec.assistant.capabilities,
                also=note,
            )
        if isinstance(found, Claimed):
            await self._tell(actor, found)

    async def _has_ready(self, actor: Actor) -> bool:
        """Looked up before claiming: a claim that finds nothing is a row of the audit trail, each turn."""
        caps, types, repo = actor.spec.assistant.capabilities, actor.spec.queue.types, actor.spec.repo

        def query(tx: Transaction) -> bool:
            found = tx.tasks.ready(repo, capabilities=caps, types=types, after=None)
            return next(iter(found), None) is not None

        await self._queue.catch_up()
        return await self._supervisor.systems.store.read(query)

    async def _tell(self, actor: Actor, found: Claimed) -> None:
        inc, task = actor.incarnation, found.task
        assert inc is not None, "it is idle"
        errand = errands.of(task, inc.generation)
        try:
            text = words.brief(found, context=await self._brief(found))
            if not self._is_idle(actor):
                raise EnvmgrError(f"{inc.name} was not idle any more")
            await _refuse_shell(inc)
            await delivery.deliver(inc, text, actor.reports)
        except EnvmgrError as error:
            await self._hand_back(actor, errand, error.message)
            return
        await self._told(inc.id, errand)
        self._beaten[inc.id] = self._supervisor.systems.steady()
        data = {"task": task.name, "repo": task.repo, "by": inc.name}
        await self._supervisor.record(
            NewEvent(kind="task.dispatched", agent=inc.id, generation=inc.generation, data=data)
        )

    async def _hand_back(self, actor: Actor, errand: Errand, why: str) -> None:
        """It never began, or its assistant cannot work just now; it is left alone for a while that grows, as it would only fail again."""
        agent = actor.state.id
        self._failures[agent] = failures = self._failures.get(agent, 0) + 1
        rest_s = min(_REST_S * 2 ** (failures - 1), _LONGEST_REST_S)
        self._not_before[agent] = self._supervisor.systems.steady() + rest_s
        log.warning("a task was not delivered", extra={"agent": agent, "task": errand.task, "why": why})
        await self._queue.hand_back(report_of(actor, errand), why=why)
        await self._forget(agent)

    async def _told(self, agent: AgentId, errand: Errand) -> None:
        """Unless its turn has ended meanwhile."""

        def note(tx: Transaction) -> None:
            known = errands.read(tx, agent)
            if known is not None and known.lease == errand.lease and known.stage is Stage.GIVEN:
                errands.write(tx, agent, replace(known, stage=Stage.TOLD))

        await self._supervisor.systems.store.write(note)

    # --- following ---------------------------------------------------------------------------------------

    async def _follow(self, actor: Actor, errand: Errand) -> None:
        try:
            task = (await self._queue.see(actor.spec.repo, errand.task)).task
        except NotFound:
            await self._forget(actor.state.id)  # long over
            return
        if task.lease != errand.lease or task.status not in LEASED:
            await self._forget(actor.state.id)  # done, called off, over its budget, or somebody else's
        elif errand.stage is Stage.GIVEN:
            await self._find_out(actor, errand)
        elif errand.stage is Stage.FAILED:
            await self._hand_back(actor, errand, errand.reason)
        elif await self._is_at_it(actor):
            if errand.stage is Stage.TOLD:
                await self._beat(actor, errand)
        elif self._has_settled(actor):
            if why := await shown_failure(actor):
                await self._hand_back(actor, errand, why)
            elif errand.stage is Stage.ENDED:
                self._failures.pop(actor.state.id, None)
                await self._finishing.finish(actor, errand)

    async def _find_out(self, actor: Actor, errand: Errand) -> None:
        """The last daemon ended somewhere between the claim and the proof that the assistant was told."""
        inc = actor.incarnation
        if inc is None:
            return  # not looked at yet
        said = await conversation.pending(inc)
        if said is not None and said.phase is not Phase.SENDING and words.mark(errand.lease) in said.text:
            await self._told(inc.id, errand)
        elif said is None or actor.state.activity is Activity.READY:
            await self._hand_back(actor, errand, "the daemon ended before it was told")

    def _has_settled(self, actor: Actor) -> bool:
        """Nothing goes on in its terminal that somebody else has begun since."""
        inc, state = actor.incarnation, actor.state
        return inc is not None and inc.generation == state.generation and state.activity is Activity.READY

    async def _is_at_it(self, actor: Actor) -> bool:
        inc, state = actor.incarnation, actor.state
        if inc is None or not inc.pane_pid:
            return False
        if inc.assistant.reports and state.activity not in _BUSY:
            return False
        is_suspended = partial(inc.systems.processes.is_suspended, inc.pane_pid)
        return not await anyio.to_thread.run_sync(is_suspended)

    async def _beat(self, actor: Actor, errand: Errand) -> None:
        now = self._supervisor.systems.steady()
        if now - self._beaten.get(actor.state.id, 0.0) >= self._beat_s:
            self._beaten[actor.state.id] = now
            await self._queue.heartbeat(report_of(actor, errand))

    async def _note(self, agent: AgentId, errand: Errand | None) -> None:
        """None: it is over."""
        await self._supervisor.systems.store.write(
            lambda tx: errands.drop(tx, agent) if errand is None else errands.write(tx, agent, errand)
        )

    async def _forget(self, agent: AgentId) -> None:
        self._beaten.pop(agent, None)
        await self._note(agent, None)


async def _refuse_shell(inc: Incarnation) -> None:
    """A shell would run the text of a task (R-22). Raises Conflict when one has the terminal just now."""
    pane = await alive_pane(inc)
    if pane.command in SHELLS and not inc.assistant.reports:
        raise Conflict(f"{inc.name} is at a shell ({pane.command}), which would run the task's text")


def principal_of(actor: Actor) -> Principal:
    """The agent itself, in whose name a task is claimed."""
    scopes = actor.spec.assistant.scopes
    return Principal(
        kind=PrincipalKind.AGENT,
        name=actor.state.name,
        agent=actor.state.id,
        scopes=frozenset(AGENT_SCOPES if scopes is None else scopes),
    )


def report_of(actor: Actor, errand: Errand) -> Report:
    """As the agent would make it."""
    return Report(repo=actor.spec.repo, task=errand.task, who=principal_of(actor), token=errand.lease)
