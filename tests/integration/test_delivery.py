"""A prompt reaches a program in a real terminal whole, once, and only when it may."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import anyio
import pytest

from envmgr.app.context import App
from envmgr.app.terminals import Send, send
from envmgr.assistants.command import CommandAssistant
from envmgr.config.settings import Settings
from envmgr.config.source import TemplateFiles
from envmgr.drivers.docker import DockerEngine
from envmgr.errors import Conflict, IllegalTransition, Unavailable, UsageError
from envmgr.model.agent import Activity, Evidence, Lifecycle, Source
from envmgr.protocols.store import AgentRecord
from envmgr.protocols.templates import TemplateSource
from envmgr.runtime.actor import Actor
from envmgr.runtime.bus import Bus
from envmgr.runtime.delivery import deliver
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.reports import Reports
from envmgr.runtime.supervisor import Policy, Supervisor
from tests.support import talker
from tests.support.incarnations import incarnation
from tests.support.requirements import proves
from tests.support.tmux import tmux_lab
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

PROMPT = (
    "Fix the login page.\n\tIt fails for names like O'Brien — see $HOME; echo `id` 🦦\nThen run the tests."
)


class ReportingAssistant(CommandAssistant):
    """A program whose hooks tell what it does."""

    reports: ClassVar[bool] = True


class Talk:
    """A running talker: the incarnation it belongs to, and what it has heard."""

    def __init__(self, inc: Incarnation, heard: Path) -> None:
        self.inc = inc
        self._heard = heard
        self.reports = Reports()

    def heard(self) -> list[str]:
        if not self._heard.exists():
            return []
        return [json.loads(line) for line in self._heard.read_text(encoding="utf-8").splitlines()]

    async def screen(self) -> str:
        assert self.inc.terminal is not None
        return await self.inc.systems.terminals.screen(self.inc.terminal.agent_pane)

    async def report_what_it_hears(self) -> None:
        """As hooks do: a word each time it begins to work."""
        for count in range(1, 100):
            await async_eventually(lambda count=count: len(self.heard()) >= count, within_s=60)  # type: ignore[misc]  # bound now
            self.reports.put(Activity.WORKING)


@asynccontextmanager
async def talk(
    folder: Path, *, reports: bool = False, deaf: int = 0, slow_s: float = 0
) -> AsyncIterator[Talk]:
    adapter = ReportingAssistant() if reports else CommandAssistant()
    async with tmux_lab(folder), incarnation(folder, adapter=adapter) as inc:
        inc.terminal = await inc.systems.terminals.open(inc.session, owner=inc.tag)
        argv = (sys.executable, talker.__file__, str(folder / "heard"), str(deaf), str(slow_s))
        await inc.systems.terminals.run(inc.terminal.agent_pane, argv, cwd=folder)
        here = Talk(inc, folder / "heard")
        if not slow_s:
            await async_eventually(lambda: _shows(here, ">"))
        async with anyio.create_task_group() as group:
            if reports:
                group.start_soon(here.report_what_it_hears)
            yield here
            group.cancel_scope.cancel()


async def _shows(here: Talk, words: str) -> bool:
    return words in await here.screen()


# --- delivery ----------------------------------------------------------------------------------------------------


@proves("SEND-001", "R-22")
@pytest.mark.parametrize("reports", [False, True], ids=["silent", "reporting"])
async def test_a_prompt_arrives_whole_and_once(
    tmp_path: Path,
    reports: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async with talk(tmp_path, reports=reports) as here:
        await deliver(here.inc, PROMPT, here.reports)

        await async_eventually(lambda: here.heard() == [PROMPT])


@proves("SEND-001")
async def test_prompts_one_after_the_other_arrive_in_order(tmp_path: Path) -> None:
    async with talk(tmp_path, reports=True) as here:
        for prompt in ("one", "two", "three"):
            await deliver(here.inc, prompt, here.reports)

        assert here.heard() == ["one", "two", "three"]


@proves("SEND-001")
async def test_prompts_at_the_same_time_do_not_run_into_each_other(tmp_path: Path) -> None:
    async with talk(tmp_path, reports=True) as here:
        async with anyio.create_task_group() as group:
            group.start_soon(deliver, here.inc, "one", here.reports)
            group.start_soon(deliver, here.inc, "two", here.reports)

        assert sorted(here.heard()) == ["one", "two"]


@proves("SEND-001")
async def test_a_program_that_is_still_starting_is_waited_for(tmp_path: Path) -> None:
    async with talk(tmp_path, slow_s=1.0) as here:
        await deliver(here.inc, PROMPT, here.reports)

        await async_eventually(lambda: here.heard() == [PROMPT])


@proves("SEND-002", "R-22")
async def test_a_swallowed_enter_is_pressed_again_and_the_prompt_is_not_pasted_again(tmp_path: Path) -> None:
    async with talk(tmp_path, reports=True, deaf=1) as here:
        await deliver(here.inc, "fix it", here.reports)

        assert here.heard() == ["fix it"]


@proves("SEND-002")
async def test_a_prompt_that_is_not_taken_is_an_error_that_says_where_it_stands(tmp_path: Path) -> None:
    async with talk(tmp_path, reports=True, deaf=99) as here:
        with pytest.raises(Unavailable, match="otter did not take the prompt; it stands in its input line"):
            await deliver(here.inc, "fix it", here.reports)

        assert here.heard() == []
        assert (await here.screen()).count("fix it") == 1


@proves("SEND-002")
async def test_without_a_session_nothing_is_sent(tmp_path: Path) -> None:
    async with tmux_lab(tmp_path), incarnation(tmp_path) as inc:
        with pytest.raises(Conflict, match="otter has no terminal session"):
            await deliver(inc, PROMPT, Reports())


# --- who may be sent something -----------------------------------------------------------------------------------


Sending = Callable[..., AbstractAsyncContextManager[tuple[App, Talk]]]


@pytest.fixture
def sending(tmp_path: Path) -> Sending:
    return partial(_sending, tmp_path, TemplateFiles(Settings()))


@asynccontextmanager
async def _sending(
    folder: Path, templates: TemplateSource, **state: object
) -> AsyncIterator[tuple[App, Talk]]:
    """The operation's App with one agent in a state, and a program that listens."""

    async def perform(actor: Actor, owed: object) -> None:
        raise AssertionError("nothing is owed in these tests")

    async with talk(folder) as here:
        inc = here.inc
        supervisor = Supervisor(
            inc.systems, inc.layout, inc.instance, bus=Bus(), policy=Policy(), perform=perform
        )
        known = (await inc.systems.store.read(lambda tx: tx.agents()))[0]
        running = replace(known.state, generation=1, lifecycle=Lifecycle.RUNNING)
        actor = supervisor.take_over(
            AgentRecord(state=replace(running, **state), spec=known.spec)  # type: ignore[arg-type]  # fields by name
        )
        actor.incarnation = inc
        yield (
            App(
                state_dir=folder,
                worktree_root=folder,
                version="0",
                templates=templates,
                engine=DockerEngine(instance=inc.instance),
                supervisor=supervisor,
            ),
            here,
        )


ASKING = Evidence(source=Source.HOOK, detail="PermissionRequest: Bash", at=0.0)


@proves("SEND-003")
@pytest.mark.parametrize(
    ("state", "force", "words"),
    [
        (
            {"activity": Activity.AWAITING_INPUT, "evidence": ASKING},
            False,
            r"waits for an answer \(PermissionRequest: Bash\)",
        ),
        ({"activity": Activity.AWAITING_INPUT, "evidence": ASKING}, True, "waits for an answer"),
        ({"activity": Activity.WORKING}, False, "otter is working"),
        ({"lifecycle": Lifecycle.STOPPED}, False, "otter is stopped"),
        ({"lifecycle": Lifecycle.STOPPED}, True, "otter is stopped"),
        ({"lifecycle": Lifecycle.SPAWNING}, True, "otter is spawning"),
        ({"lifecycle": Lifecycle.ERROR}, True, "otter is error"),
    ],
)
async def test_a_prompt_that_could_do_harm_is_refused_and_nothing_is_typed(
    sending: Sending,
    state: dict[str, object],
    force: bool,  # noqa: FBT001 - a parameter of the test
    words: str,
) -> None:
    async with sending(**state) as (app, here):
        before = await here.screen()

        with pytest.raises(IllegalTransition, match=words) as refused:
            await send(Send(agent="otter", prompt="yes", force=force), app)

        assert "envmgr" in refused.value.hint or "--force" in refused.value.hint
        assert await here.screen() == before


@proves("SEND-003")
@pytest.mark.parametrize(
    ("activity", "force"), [(Activity.READY, False), (None, False), (Activity.WORKING, True)]
)
async def test_a_prompt_is_sent_to_who_is_ready_or_when_a_person_insists(
    sending: Sending,
    activity: Activity | None,
    force: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async with sending(activity=activity) as (app, here):
        done = await send(Send(agent="ott", prompt="go on", force=force), app)

        await async_eventually(lambda: here.heard() == ["go on"])
    assert done.message == "otter took the prompt"


@proves("SEND-003")
@pytest.mark.parametrize("prompt", ["", "  \n"])
async def test_an_empty_prompt_is_refused(sending: Sending, prompt: str) -> None:
    async with sending() as (app, _):
        with pytest.raises(UsageError, match="the prompt is empty"):
            await send(Send(agent="otter", prompt=prompt), app)
