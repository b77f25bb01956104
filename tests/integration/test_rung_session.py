"""Rung 2: the session and its assistant anew; services, ports and files stay as they are."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import anyio
import psutil
import pytest

from envmgr.errors import Unobservable
from envmgr.model.incident import Rung
from envmgr.model.service import PortSpec, ServiceKind, ServiceSpec, StopPolicy
from envmgr.model.spec import AssistantSpec
from tests.support.climbing import Lab, running
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

WEB = ServiceSpec(
    name="web",
    kind=ServiceKind.PROCESS,
    command="exec python3 -m http.server $PORT --bind 127.0.0.1",
    ports=(PortSpec(name="http"),),
)
# Says on its screen which start of it this is.
COUNTS = AssistantSpec(command="echo x >> starts; echo start $(wc -l < starts) of it; exec sleep 1000")


async def _screen(lab: Lab) -> str:
    terminal = await lab.inc.find_terminal()
    assert terminal is not None
    return await lab.inc.systems.terminals.screen(terminal.agent_pane)


async def _shows(lab: Lab, text: str) -> None:
    async def shows() -> bool:
        return text in await _screen(lab)

    await async_eventually(shows)


async def _one_assistant(lab: Lab) -> int:
    """Its pid: what runs in the agent pane, and nothing else that carries the assistant's marker."""
    pid = await lab.assistant_pid()
    await async_eventually(lambda: lab.assistant_pids() == [pid])
    return pid


def _server(lab: Lab) -> psutil.Process:
    """The tmux server of the test."""
    socket = str(lab.inc.layout.state_dir.parent / "s")
    found = [
        p
        for p in psutil.process_iter(["name", "cmdline"])
        if (p.info["name"] or "").startswith("tmux") and socket in (p.info["cmdline"] or []) and p.ppid() == 1
    ]
    (server,) = [p for p in found if "start-server" in (p.info["cmdline"] or [])]
    return server


@proves("RUNG-001", "R-14")
async def test_a_killed_assistant_comes_back_in_its_session_beside_untouched_services(tmp_path: Path) -> None:
    async with running(tmp_path, WEB, assistant_spec=COUNTS) as lab:
        await _shows(lab, "start 1 of it")
        session = await lab.inc.find_terminal()
        services, ports, old = lab.service_pids("web"), dict(lab.inc.ports), await lab.assistant_pid()
        os.kill(old, signal.SIGKILL)

        said = await lab.climb(Rung.SESSION)

        await _shows(lab, "start 2 of it")
        assert "its session stayed" in said
        assert await lab.inc.find_terminal() == session
        assert (lab.service_pids("web"), lab.inc.ports) == (services, ports)
        assert lab.actor.state.generation == 1
        assert await _one_assistant(lab) != old


@proves("RUNG-002")
async def test_an_assistant_that_still_lives_is_ended_before_another_is_started(tmp_path: Path) -> None:
    stubborn = AssistantSpec(
        command="trap '' TERM HUP; echo x >> starts; echo start $(wc -l < starts) of it; while :; do sleep 0.1; done",
        stop=StopPolicy(grace_s=1.0),
    )
    async with running(tmp_path, assistant_spec=stubborn) as lab:
        await _shows(lab, "start 1 of it")
        old = await lab.assistant_pid()

        await lab.climb(Rung.SESSION)

        assert not psutil.pid_exists(old)
        await _shows(lab, "start 2 of it")


@proves("RUNG-003")
async def test_what_the_screen_showed_is_kept_in_a_file_of_the_agents_own(tmp_path: Path) -> None:
    async with running(tmp_path, assistant_spec=COUNTS) as lab:
        await _shows(lab, "start 1 of it")

        await lab.climb(Rung.SESSION)

        (kept,) = (lab.inc.home / "screens").iterdir()
        assert "start 1 of it" in kept.read_text(encoding="utf-8")
        assert kept.stat().st_mode & 0o777 == 0o600


@proves("RUNG-004", "R-12")
async def test_a_killed_terminal_server_is_followed_by_a_new_one_on_the_same_socket(tmp_path: Path) -> None:
    async with running(tmp_path, WEB, assistant_spec=COUNTS) as lab:
        await _shows(lab, "start 1 of it")
        services, old = lab.service_pids("web"), _server(lab)
        old.kill()
        old.wait(10)

        said = await lab.climb(Rung.SESSION)

        await _shows(lab, "start 2 of it")
        assert "its session is new" in said
        assert lab.service_pids("web") == services
        await _one_assistant(lab)
        assert _server(lab).pid != old.pid


@proves("RUNG-005", "R-15", "R-17")
async def test_a_stopped_terminal_server_is_not_acted_upon(tmp_path: Path) -> None:
    async with running(tmp_path, assistant_spec=COUNTS) as lab:
        await _shows(lab, "start 1 of it")
        server, pid = _server(lab), await lab.assistant_pid()
        server.suspend()
        try:
            with pytest.raises(Unobservable, match="does not answer"):
                await lab.climb(Rung.SESSION)
        finally:
            server.resume()

        assert await lab.assistant_pid() == pid


@proves("RUNG-006")
@pytest.mark.parametrize(
    "point",
    [f"rung-session-{part}" for part in ("begun", "ended", "opened", "started", "done")],
)
async def test_a_recreation_that_was_cut_off_is_done_again_with_one_assistant(
    tmp_path: Path, point: str
) -> None:
    reached: list[str] = []

    def reach(now: str) -> None:
        reached.append(now)
        if now == point and reached.count(now) == 1:
            raise RuntimeError(point)

    async with running(tmp_path, WEB, assistant_spec=COUNTS, reach=reach) as lab:
        services = lab.service_pids("web")
        with pytest.raises(RuntimeError, match=point):
            await lab.climb(Rung.SESSION)

        await lab.climb(Rung.SESSION)

        await _one_assistant(lab)
        assert lab.service_pids("web") == services


@proves("RECOVER-014")
async def test_who_is_cut_off_takes_the_measure_along_and_the_next_one_need_not_wait_for_it(
    tmp_path: Path,
) -> None:
    reached: list[str] = []
    ended = anyio.Event()

    def reach(point: str) -> None:
        reached.append(point)
        if point == "rung-session-ended":
            ended.set()

    async with running(tmp_path, assistant_spec=COUNTS, reach=reach) as lab:
        await _shows(lab, "start 1 of it")
        async with anyio.create_task_group() as asking:
            asking.start_soon(lab.climb, Rung.SESSION)
            await ended.wait()
            asking.cancel_scope.cancel()

        assert not lab.actor.busy.locked()
        assert lab.actor.changing is None
        assert "rung-session-started" not in reached

        await lab.climb(Rung.SESSION, key="2")
        await _shows(lab, "start 2 of it")
