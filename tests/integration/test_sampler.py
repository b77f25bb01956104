"""What the status loop concludes from the list of panes: losses are seen twice, and not seeing is not losing."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from envmgr.assistants.command import CommandAssistant
from envmgr.drivers.tmux import TmuxTerminals
from envmgr.errors import Unavailable
from envmgr.model.agent import Activity, Evidence, Lifecycle, Source
from envmgr.model.effect import EffectKind
from envmgr.model.event import NewEvent
from envmgr.model.incident import Part, Rung, Symptom
from envmgr.model.observe import Absent, Present, Seen, Unknown
from envmgr.protocols.assistant import Report
from envmgr.protocols.store import AgentRecord, OwedEffect
from envmgr.protocols.terminals import Pane, Terminal
from envmgr.runtime.actor import Actor
from envmgr.runtime.bus import Bus
from envmgr.runtime.health import Health
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.sampler import Sampler
from envmgr.runtime.supervisor import Policy, Supervisor
from tests.support.incarnations import incarnation
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

NOW = 1_000.0
OWNER = "test/0tter000/1"


def pane(**more: object) -> Pane:
    plain = {
        "id": "%1",
        "session": "$1",
        "owner": OWNER,
        "pid": 7,
        "dead": False,
        "exit_code": None,
        "exit_signal": "",
        "started": True,
        "command": "x",
        "in_mode": False,
        "width": 80,
        "height": 24,
    }
    return Pane(**(plain | more))  # type: ignore[arg-type]  # fields by name


class SeenTerminals(TmuxTerminals):
    """A terminal server whose list and screen are what the test says."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "s", folder)
        self.seen: Seen[Sequence[Pane]] = Present([pane()])
        self.text: str | None = ""
        self.questions = 0

    async def panes(self) -> Seen[Sequence[Pane]]:
        self.questions += 1
        return self.seen

    async def look(self, name: str, *, owner: str) -> Seen[Terminal]:
        return Present(
            Terminal(
                session="$1", name=name, owner=owner, agent_pane="%1", services_pane="%2", monitor_pane="%3"
            )
        )

    async def screen(self, pane: str, *, history: int = 0) -> str:
        if self.text is None:
            raise Unavailable("no such pane")
        return self.text


class ReadsScreens(CommandAssistant):
    """Its hooks report; its screen says READY when it shows a prompt."""

    reports = True

    def read_screen(self, screen: str) -> Report:
        return Report(activity=Activity.READY if ">" in screen else None, detail="prompt is shown")


class Lab:
    """A running agent, the loop that looks at it, and the terminal server it asks."""

    def __init__(self, terminals: SeenTerminals) -> None:
        self.terminals = terminals
        self.owed: list[EffectKind] = []

    async def take_over(self, inc: Incarnation, state: dict[str, object]) -> None:
        """The agent in a state, as a daemon that has just started finds it."""
        self.supervisor = Supervisor(
            inc.systems,
            inc.layout,
            inc.instance,
            bus=Bus(),
            policy=Policy(validate=True),
            perform=self._perform,
        )
        known = (await inc.systems.store.read(lambda tx: tx.agents()))[0]
        changes: dict[str, object] = {"generation": 1, "lifecycle": Lifecycle.RUNNING} | state
        now = replace(known.state, **changes)  # type: ignore[arg-type]  # fields by name
        version = await inc.systems.store.write(lambda tx: tx.save_state(now, expect=known.version))
        self.actor = self.supervisor.take_over(AgentRecord(state=now, spec=known.spec, version=version))
        self.actor.incarnation = inc
        self.reported: list[Symptom] = []
        self._sampler = Sampler(self.supervisor, lambda actor, symptom: self.reported.append(symptom))

    async def _perform(self, actor: Actor, owed: OwedEffect, *, was_cut_off: bool = False) -> None:
        self.owed.append(owed.effect.kind)

    async def look(self, seen: Seen[Sequence[Pane]], times: int = 1) -> None:
        self.terminals.seen = seen
        for _ in range(times):
            await self._sampler.sample()

    @property
    def lifecycle(self) -> Lifecycle:
        return self.actor.state.lifecycle

    def is_running(self) -> bool:
        return self.lifecycle is Lifecycle.RUNNING

    @property
    def remarks(self) -> list[str]:
        return [c.type for c in self.actor.state.conditions]


@asynccontextmanager
async def running(
    folder: Path, steady: Callable[[], float] = time.time, /, **state: object
) -> AsyncIterator[Lab]:
    """An agent in a state, RUNNING unless said otherwise; effects are noted, not carried out."""
    terminals = SeenTerminals(folder)
    async with incarnation(folder, adapter=ReadsScreens()) as inc, anyio.create_task_group() as group:
        inc.systems = replace(inc.systems, terminals=terminals, now=lambda: NOW, steady=steady)
        lab = Lab(terminals)
        await lab.take_over(inc, state)
        lab.supervisor.start(group)
        yield lab


# --- the assistant's end -----------------------------------------------------------------------------------------


@proves("WATCH-001")
@pytest.mark.parametrize(
    ("seen", "lifecycle", "owed"),
    [
        (pane(dead=True, exit_code=0), Lifecycle.STOPPING, [EffectKind.STOP]),
        (pane(dead=True, exit_code=1), Lifecycle.RUNNING, []),
        (pane(dead=True, exit_signal="KILL"), Lifecycle.RUNNING, []),
    ],
)
async def test_an_assistant_that_ended_is_noticed_at_the_first_look(
    tmp_path: Path, seen: Pane, lifecycle: Lifecycle, owed: list[EffectKind]
) -> None:
    async with running(tmp_path) as lab:
        await lab.look(Present([seen]))

    assert lab.lifecycle is lifecycle
    assert lab.owed == owed
    assert [s.part for s in lab.reported] == [Part.ASSISTANT] * (lifecycle is Lifecycle.RUNNING)


@proves("WATCH-001")
async def test_an_end_without_a_status_is_looked_at_again_before_it_counts(tmp_path: Path) -> None:
    async with running(tmp_path) as lab:
        await lab.look(Present([pane(dead=True)]), times=4)
        assert lab.is_running()
        await lab.look(Present([pane(dead=True)]))

    assert [c.reason for c in lab.actor.state.conditions] == ["the assistant exited with status unknown"]


# --- the session's end -------------------------------------------------------------------------------------------


@proves("WATCH-002")
@pytest.mark.parametrize(
    "missing",
    [Present([]), Absent(), Present([pane(owner="test/0tter000/2")]), Present([pane(id="%9")])],
    ids=["not listed", "no server", "another generation's", "another pane"],
)
async def test_a_session_is_lost_only_when_it_was_missing_twice(
    tmp_path: Path, missing: Seen[Sequence[Pane]]
) -> None:
    async with running(tmp_path) as lab:
        await lab.look(missing)
        assert lab.is_running()
        await lab.look(missing)

    assert lab.lifecycle is Lifecycle.RUNNING
    assert lab.remarks == ["SessionLost"]
    assert [symptom.part for symptom in lab.reported] == [Part.SESSION]


@proves("RECOVER-012", "RECOVER-031")
async def test_what_is_wrong_is_reported_at_once_and_then_calmly_for_as_long_as_it_is(tmp_path: Path) -> None:
    times = iter(range(5_000, 10_000, 4))
    async with running(tmp_path, lambda: next(times)) as lab:
        await lab.look(Absent(), times=2)
        assert [symptom.part for symptom in lab.reported] == [Part.SESSION]
        await lab.look(Absent(), times=20)
        sessions = len(lab.reported)
        assert 2 <= sessions < 20
        await lab.look(Present([pane(dead=True, exit_code=1)]))
        assert len(lab.reported) == sessions + 1
        await lab.look(Present([pane(dead=True, exit_code=1)]), times=20)

    assert sessions + 2 <= len(lab.reported) < sessions + 20
    assert {symptom.part for symptom in lab.reported[sessions:]} == {Part.ASSISTANT}


@proves("RECOVER-031")
async def test_the_screen_of_a_dead_assistant_is_read_once_for_each_death(tmp_path: Path) -> None:
    times = iter(range(5_000, 10_000, 10))
    async with running(tmp_path, lambda: next(times)) as lab:
        lab.terminals.text = "first words"
        await lab.look(Present([pane(dead=True, exit_code=1)]))
        lab.terminals.text = "second words"
        await lab.look(Present([pane(dead=True, exit_code=1)]), times=3)
        assert {symptom.output for symptom in lab.reported} == {("first words",)}
        assert sorted({symptom.at for symptom in lab.reported}) == [symptom.at for symptom in lab.reported]

        await lab.look(Present([pane(dead=True, exit_code=1, pid=8)]))
        assert lab.reported[-1].output == ("second words",)


@proves("RECOVER-031")
async def test_what_was_known_of_an_agent_that_is_looked_at_no_more_is_forgotten(tmp_path: Path) -> None:
    async with running(tmp_path) as lab:
        await lab.look(Present([]))
        lab.actor.restoring = "waits"
        await lab.look(Present([]))
        lab.actor.restoring = ""
        await lab.look(Present([]))

    assert lab.reported == []


@proves("RECOVER-026")
async def test_what_is_reported_bears_the_time_of_a_clock_that_nobody_sets(tmp_path: Path) -> None:
    async with running(tmp_path, lambda: 7_000.0) as lab:
        await lab.look(Absent(), times=2)
        await lab.look(Present([pane(dead=True, exit_code=1)]))

    assert [symptom.at for symptom in lab.reported] == [7_000.0] * 2


@proves("RECOVER-004")
async def test_an_agent_that_waits_for_a_person_is_looked_at_too(tmp_path: Path) -> None:
    frozen = {"lifecycle": Lifecycle.ERROR, "rung": Rung.PERSON, "incident": 7}
    async with running(tmp_path, **frozen) as lab:
        await lab.look(Absent(), times=2)

    assert lab.remarks == ["SessionLost"]


@proves("WATCH-002")
async def test_a_session_that_is_back_in_between_is_not_lost(tmp_path: Path) -> None:
    async with running(tmp_path) as lab:
        await lab.look(Present([]))
        await lab.look(Present([pane()]))
        await lab.look(Present([]))

    assert lab.lifecycle is Lifecycle.RUNNING


# --- not seeing --------------------------------------------------------------------------------------------------


@proves("WATCH-003")
async def test_a_server_that_does_not_answer_loses_nothing_and_is_remarked_until_it_does(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as lab:
        await lab.look(Unknown("no answer within 5 s"), times=5)
        assert (lab.lifecycle, lab.remarks) == (Lifecycle.RUNNING, ["Unobservable"])
        await lab.look(Present([pane()]))

    assert (lab.lifecycle, lab.remarks, lab.owed) == (Lifecycle.RUNNING, [], [])


@proves("WATCH-003")
@pytest.mark.parametrize("lifecycle", [Lifecycle.STOPPED, Lifecycle.SPAWNING, Lifecycle.ERROR])
async def test_the_server_is_not_asked_while_nobody_runs(tmp_path: Path, lifecycle: Lifecycle) -> None:
    async with running(tmp_path, lifecycle=lifecycle) as lab:
        await lab.look(Absent(), times=3)

    assert (lab.terminals.questions, lab.lifecycle) == (0, lifecycle)


# --- silent hooks ------------------------------------------------------------------------------------------------


def told(activity: Activity, age_s: float) -> dict[str, object]:
    evidence = Evidence(source=Source.HOOK, detail="UserPromptSubmit", at=NOW - age_s)
    return {"activity": activity, "evidence": evidence}


@proves("WATCH-004")
async def test_a_screen_is_believed_when_the_hooks_have_been_silent(tmp_path: Path) -> None:
    async with running(tmp_path, **told(Activity.WORKING, 10)) as lab:
        lab.terminals.text = "> "
        await lab.look(Present([pane()]))

    assert lab.actor.state.activity is Activity.READY
    assert lab.actor.state.evidence == Evidence(source=Source.SCREEN, detail="prompt is shown", at=NOW)


@proves("WATCH-004")
@pytest.mark.parametrize(
    ("state", "screen"),
    [
        (told(Activity.WORKING, 1), "> "),
        (told(Activity.WORKING, 10), "thinking"),
        (told(Activity.READY, 10), None),
    ],
    ids=["fresh hook", "nothing to read", "ready: not even looked at"],
)
async def test_a_screen_does_not_speak_over_hooks(
    tmp_path: Path, state: dict[str, object], screen: str | None
) -> None:
    async with running(tmp_path, **state) as lab:
        lab.terminals.text = screen
        await lab.look(Present([pane()]))

    assert (lab.actor.state.activity, lab.actor.state.evidence) == (state["activity"], state["evidence"])


@proves("WATCH-004")
async def test_a_screen_that_cannot_be_read_ends_no_look(tmp_path: Path) -> None:
    async with running(tmp_path, **told(Activity.WORKING, 10)) as lab:
        lab.terminals.text = None
        await lab.look(Present([pane()]))

    assert lab.actor.state.activity is Activity.WORKING


# --- the daemon goes on ------------------------------------------------------------------------------------------


@proves("WATCH-005")
async def test_a_note_that_cannot_be_stored_does_not_end_the_daemon(tmp_path: Path) -> None:
    async with running(tmp_path) as lab, anyio.create_task_group() as daemon:
        await lab.supervisor.systems.store.close()

        Health(lab.supervisor, daemon).note(NewEvent(kind="service.ready", agent=lab.actor.state.id))

    assert lab.lifecycle is Lifecycle.RUNNING
