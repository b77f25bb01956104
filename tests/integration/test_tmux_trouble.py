"""A tmux server that is stuck, killed or strange, and a daemon that dies."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import psutil
import pytest

from envmgr.drivers.tmux import TmuxTerminals
from envmgr.drivers.tmux.control import ControlDown, TmuxControl
from envmgr.errors import Unobservable
from envmgr.model.observe import Absent, Present, Unknown
from envmgr.protocols.terminals import Terminal
from tests.support.requirements import proves
from tests.support.tmux import TmuxLab, tmux_lab
from tests.support.wait import async_eventually, eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[TmuxLab]:
    """With a deadline that is short, and long enough for a busy machine."""
    async with tmux_lab(tmp_path, deadline_s=0.5) as made:
        yield made


async def longest_gap_s(during: Callable[[], Awaitable[object]]) -> float:
    """The longest time the event loop did not get round to a task while `during` ran."""
    gaps = [0.0]

    async def tick() -> None:
        last = time.monotonic()
        while True:
            await anyio.sleep(0.005)
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        await during()
        group.cancel_scope.cancel()
    return max(gaps)


async def test_without_a_server_there_surely_are_no_sessions(lab: TmuxLab) -> None:
    assert await lab.terminals.look("em-fox-g1", owner="i/fox/1") == Absent()
    assert await lab.terminals.panes() == Absent()
    assert not lab.socket.exists()


@proves("R-15", "R-16")
async def test_a_stuck_server_is_unknown_in_time_and_works_again_afterwards(lab: TmuxLab) -> None:
    terminal = await lab.terminals.open("em-fox-g1", owner="i/fox/1")
    await lab.terminals.run(terminal.agent_pane, ["cat"], cwd=lab.folder)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: lab.terminals.open("em-owl-g1", owner="i/owl/1"),
        lambda: lab.terminals.screen(terminal.agent_pane),
        lambda: lab.terminals.keys(terminal.agent_pane, "Enter"),
        lambda: lab.terminals.paste(terminal.agent_pane, "text"),
        lambda: lab.terminals.run(terminal.agent_pane, ["cat"], cwd=lab.folder),
        lambda: lab.terminals.close(terminal),
    ]

    async def all_give_up() -> None:
        assert isinstance(await lab.terminals.panes(), Unknown)
        assert isinstance(await lab.terminals.look("em-fox-g1", owner="i/fox/1"), Unknown)
        for call in calls:
            began_at = time.monotonic()
            with pytest.raises(Unobservable):
                await call()
            assert time.monotonic() - began_at < 2

    with lab.stopped_server():
        gap_s = await longest_gap_s(all_give_up)

    assert gap_s < 0.3
    await async_eventually(lambda: _is_present(lab.terminals))


async def _is_present(terminals: TmuxTerminals) -> bool:
    return isinstance(await terminals.panes(), Present)


@proves("R-17")
async def test_no_connection_is_begun_while_the_server_is_stuck_for_that_could_crash_it(lab: TmuxLab) -> None:
    terminal = await lab.terminals.open("em-fox-g1", owner="i/fox/1")
    connections: set[int] = set()

    def connected() -> set[int]:
        return {helper.pid for helper in lab.helpers() if "-C" in helper.cmdline()}

    before = connected()

    async def watch() -> None:
        while True:
            connections.update(connected() - before)
            await anyio.sleep(0.01)

    with lab.stopped_server():
        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            for _ in range(3):
                assert isinstance(await lab.terminals.look("em-fox-g1", owner="i/fox/1"), Unknown)
            group.cancel_scope.cancel()

    assert not connections
    await async_eventually(lambda: _is_present(lab.terminals))
    await lab.terminals.close(terminal)


@proves("TMUX-007")
async def test_a_session_that_appears_after_its_creation_was_given_up_is_found_and_can_be_closed(
    lab: TmuxLab,
) -> None:
    await lab.terminals.open("em-fox-g1", owner="i/fox/1")

    with lab.stopped_server():
        with pytest.raises(Unobservable):
            await lab.terminals.open("em-owl-g1", owner="i/owl/1")
        # The killed client's request is in the server's socket by now.
        assert not [
            helper
            for helper in lab.helpers()
            if "new-session" in helper.cmdline() and "em-owl-g1" in helper.cmdline()
        ]

    late: list[Terminal] = []

    async def has_appeared() -> bool:
        match await lab.terminals.look("em-owl-g1", owner="i/owl/1"):
            case Present(terminal):
                late.append(terminal)
                return True
            case _:
                return False

    await async_eventually(has_appeared)
    await lab.terminals.close(late[0])
    assert await lab.terminals.look("em-owl-g1", owner="i/owl/1") == Absent()


@proves("R-16")
async def test_twenty_openings_on_a_stuck_server_all_give_up_within_one_deadline(lab: TmuxLab) -> None:
    await lab.terminals.open("em-fox-g1", owner="i/fox/1")
    given_up = []

    async def open_one(number: int) -> None:
        with pytest.raises(Unobservable):
            await lab.terminals.open(f"em-{number}", owner=f"i/{number}/1")
        given_up.append(number)

    with lab.stopped_server():
        began_at = time.monotonic()
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(open_one, number)
        took_s = time.monotonic() - began_at

    assert len(given_up) == 20
    assert took_s < 2


@proves("R-15")
async def test_a_killed_server_has_no_sessions_and_the_next_one_starts_over_its_socket(lab: TmuxLab) -> None:
    await lab.terminals.open("em-fox-g1", owner="i/fox/1")
    assert isinstance(await lab.terminals.panes(), Present)

    pid = lab.server_pid()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)

    assert await lab.terminals.look("em-fox-g1", owner="i/fox/1") == Absent()
    again = await lab.terminals.open("em-fox-g1", owner="i/fox/1")
    assert await lab.terminals.look("em-fox-g1", owner="i/fox/1") == Present(again)


@proves("R-15")
async def test_a_socket_served_by_something_else_is_unknown(lab: TmuxLab) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(lab.socket))
        stranger.listen()

        assert isinstance(await lab.terminals.look("em-fox-g1", owner="i/fox/1"), Unknown)
    lab.socket.unlink()


@proves("R-17")
async def test_a_lost_connection_is_replaced_and_not_missed_meanwhile(lab: TmuxLab) -> None:
    terminal = await lab.terminals.open("em-fox-g1", owner="i/fox/1")
    assert isinstance(await lab.terminals.panes(), Present)
    [first] = lab.helpers()

    first.kill()

    assert isinstance(await lab.terminals.look("em-fox-g1", owner="i/fox/1"), Present)

    async def is_replaced() -> bool:
        assert isinstance(await lab.terminals.panes(), Present)
        return [helper.pid for helper in lab.helpers() if "-C" in helper.cmdline()] not in ([], [first.pid])

    await async_eventually(is_replaced)
    assert await lab.terminals.run(terminal.agent_pane, ["cat"], cwd=lab.folder) > 0


@proves("R-17")
async def test_what_was_sent_on_a_lost_connection_is_not_sent_again(tmp_path: Path) -> None:
    async with tmux_lab(tmp_path, deadline_s=10) as lab:
        terminal = await lab.terminals.open("em-fox-g1", owner="i/fox/1")
        assert isinstance(await lab.terminals.panes(), Present)
        server = lab.server_pid()

        async def show() -> None:
            with pytest.raises(Unobservable, match="broke during kill-pane"):
                await lab.terminals.show(terminal, {})

        with lab.stopped_server():
            async with anyio.create_task_group() as group:
                group.start_soon(show)
                await anyio.lowlevel.checkpoint()  # by now it has sent its commands
                os.kill(server, signal.SIGKILL)


@proves("R-17")
@pytest.mark.parametrize("argv", [["false"], ["sleep", "1000"], ["echo", "%begin 1 1 1"]])
async def test_a_client_that_never_connects_is_given_up_soon(argv: list[str]) -> None:
    control = TmuxControl(argv, env=dict(os.environ), deadline_s=1)
    began_at = time.monotonic()

    await control.connect()

    assert time.monotonic() - began_at < 0.9
    with pytest.raises(ControlDown):
        await control.ask([["list-sessions"]])
    await control.close()


@proves("R-17")
async def test_connecting_again_takes_longer_each_time(tmp_path: Path) -> None:
    attempts = tmp_path / "attempts"
    control = TmuxControl(["sh", "-c", f"echo >>{attempts}"], env=dict(os.environ), deadline_s=1)

    async def has_tried(times: int) -> bool:
        await control.connect()
        return attempts.exists() and len(attempts.read_text()) >= times

    began_at = time.monotonic()
    await async_eventually(lambda: has_tried(4))

    assert time.monotonic() - began_at >= 0.1 + 0.2 + 0.4
    await control.close()


@proves("R-17")
async def test_no_client_process_is_left_after_stopping_and_the_sessions_live_on(lab: TmuxLab) -> None:
    terminal = await lab.terminals.open("em-fox-g1", owner="i/fox/1")
    assert isinstance(await lab.terminals.panes(), Present)

    await lab.terminals.stop()

    assert lab.helpers() == []
    assert psutil.Process().children() == []
    assert lab.tmux("list-panes", "-t", terminal.session, "-F", "#{@envmgr-owner}") == "i/fox/1"


@proves("TMUX-001")
async def test_twenty_sessions_are_opened_at_once(tmp_path: Path) -> None:
    async with tmux_lab(tmp_path) as lab:
        opened: list[Terminal] = []

        async def open_one(number: int) -> None:
            opened.append(await lab.terminals.open(f"em-{number}", owner=f"i/{number}/1"))

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(open_one, number)

        seen = await lab.terminals.panes()
        assert isinstance(seen, Present)
        assert {pane.owner for pane in seen.value} == {terminal.owner for terminal in opened}
        assert len({pane.id for pane in seen.value}) == 60


@proves("R-12")
async def test_neither_the_daemons_secrets_nor_a_foreign_tmux_reach_the_panes(
    lab: TmuxLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_KEY", "secret-value")
    monkeypatch.setenv("TMUX", "/elsewhere/default,1,0")
    monkeypatch.setenv("TMUX_TMPDIR", "/elsewhere")
    (Path(os.environ["HOME"]) / ".tmux.conf").write_text("set -g status on\n")
    terminals = TmuxTerminals(lab.socket, lab.folder / "config")

    terminal = await terminals.open("em-fox-g1", owner="i/fox/1")
    pid = await terminals.run(terminal.agent_pane, ["sleep", "1000"], cwd=lab.folder)
    await terminals.stop()

    eventually(lambda: psutil.Process(pid).name() == "sleep")
    environment = f"{psutil.Process(pid).environ()} {psutil.Process(lab.server_pid()).environ()}"
    assert "secret-value" not in environment
    assert "TMUX" not in environment
    assert "secret-value" not in lab.tmux("show-environment", "-g") + lab.tmux(
        "show-environment", "-t", terminal.session
    )
    assert lab.tmux("show-options", "-gv", "status") == "off"


DAEMON = """
import asyncio, sys
from pathlib import Path
from envmgr.drivers.tmux import TmuxTerminals
folder = Path(sys.argv[1])
terminals = TmuxTerminals(folder / "s", folder / "config")
async def work():
    await terminals.open("em-fox-g1", owner="i/fox/1")
    await terminals.panes()
    print("opened", flush=True)
    await asyncio.sleep(1000)
asyncio.run(work())
"""


@proves("TMUX-008", "R-17")
async def test_sessions_outlive_the_daemon_that_was_killed_with_its_whole_process_group(lab: TmuxLab) -> None:
    daemon = subprocess.Popen(  # noqa: ASYNC220 - it says "opened" within a second
        [sys.executable, "-c", DAEMON, str(lab.folder)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert daemon.stdout is not None
    assert daemon.stdout.readline() == "opened\n"

    assert "_hub" in lab.tmux("list-clients")

    os.killpg(daemon.pid, signal.SIGKILL)
    daemon.communicate()

    eventually(lambda: lab.tmux("list-clients") == "")

    server = lab.server_pid()
    assert os.getsid(server) == os.getpgid(server) == server
    assert psutil.Process(server).cwd() == "/"
    found = await lab.terminals.look("em-fox-g1", owner="i/fox/1")
    assert isinstance(found, Present)
