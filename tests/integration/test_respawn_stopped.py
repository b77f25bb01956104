"""A person stops an agent that is just being stopped for a respawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from envmgr.model.agent import Desired, Lifecycle
from envmgr.model.incident import Rung
from envmgr.model.spec import AssistantSpec, Retention
from envmgr.model.stimulus import RespawnPrepared
from envmgr.protocols.assistant import Report
from envmgr.protocols.store import AgentRecord
from envmgr.runtime import conversation
from envmgr.runtime.bus import Bus
from envmgr.runtime.effects import Performer
from envmgr.runtime.health import Health
from envmgr.runtime.supervisor import Policy, Supervisor
from tests.support.climbing import running
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

IDLE = AssistantSpec(command="exec sleep 1000")


@proves("RECOVER-002")
async def test_the_person_s_stop_is_a_plain_one_and_gives_up_what_was_asked(tmp_path: Path) -> None:
    began = anyio.Event()

    def reach(point: str) -> None:
        if point == "stop-before-assistant":
            began.set()

    async with running(tmp_path, assistant_spec=IDLE) as lab, anyio.create_task_group() as group:
        inc = lab.inc
        inc.spec = replace(inc.spec, retention=Retention(worktree="remove-if-clean"))
        await conversation.hear(inc, Report(activity=None, detail="", prompt="do the thing"))
        await conversation.cut(inc, "1/1")
        (known,) = await inc.systems.store.read(lambda tx: tx.agents())
        state = replace(
            known.state, lifecycle=Lifecycle.RUNNING, desired=Desired.RUNNING, rung=Rung.RESPAWN, incident=1
        )
        version = await inc.systems.store.write(lambda tx: tx.save_state(state, expect=known.version))
        performer = Performer(reach=reach)
        supervisor = Supervisor(
            inc.systems, inc.layout, inc.instance, bus=Bus(), policy=Policy(validate=True), perform=performer
        )
        actor = supervisor.take_over(AgentRecord(state=state, spec=inc.spec, version=version))
        actor.incarnation = inc
        supervisor.start(group)
        performer.attach(supervisor, Health(supervisor, group))

        await supervisor.apply(actor, RespawnPrepared(generation=1, incident=1))
        await began.wait()
        await supervisor.stop(actor, by="person", cause="stop")
        await actor.settled()

        assert (actor.state.lifecycle, actor.state.rung) == (Lifecycle.STOPPED, None)
        assert await conversation.pending(inc) is None
        assert not await anyio.Path(inc.path).exists()
        group.cancel_scope.cancel()
