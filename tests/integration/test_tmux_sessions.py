"""Sessions on a real tmux server: made, found, filled, attached to and closed."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from envmgr.drivers.tmux import TmuxTerminals
from envmgr.drivers.tmux.server import TmuxServer
from envmgr.errors import ConfigError, Conflict, NotFound, Unavailable, UsageError
from envmgr.model.observe import Absent, Present
from envmgr.protocols.terminals import Pane
from tests.support.requirements import proves
from tests.support.tmux import TmuxLab, tmux_lab
from tests.support.wait import async_eventually, eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[TmuxLab]:
    async with tmux_lab(tmp_path) as made:
        yield made


async def pane(lab: TmuxLab, pane_id: str) -> Pane:
    match await lab.terminals.panes():
        case Present(panes):
            return next(pane for pane in panes if pane.id == pane_id)
        case unseen:
            raise AssertionError(unseen)


@proves("TMUX-001", "R-24")
async def test_a_session_has_its_three_windows_at_a_sane_size(lab: TmuxLab) -> None:
    terminal = await lab.terminals.open("em-fox-g1", owner="i/fox/1")

    listed = lab.tmux(
        "list-panes", "-a", "-F", "#{session_name} #{window_name} #{pane_id} #{window_width}x#{window_height}"
    )
    assert [line for line in listed.splitlines() if not line.startswith("_hub ")] == [
        f"em-fox-g1 agent {terminal.agent_pane} 200x50",
        f"em-fox-g1 services {terminal.services_pane} 200x50",
        f"em-fox-g1 monitor {terminal.monitor_pane} 200x50",
    ]


@proves("TMUX-001")
async def test_opening_again_returns_the_same_session(lab: TmuxLab) -> None:
    first = await lab.terminals.open("em-fox-g1", owner="i/fox/1")

    assert await lab.terminals.open("em-fox-g1", owner="i/fox/1") == first


@proves("R-11")
async def test_a_name_that_begins_another_is_not_taken_for_it(lab: TmuxLab) -> None:
    long = await lab.terminals.open("em-fox-g10", owner="i/fox/10")

    assert await lab.terminals.look("em-fox-g1", owner="i/fox/1") == Absent()
    short = await lab.terminals.open("em-fox-g1", owner="i/fox/1")
    await lab.terminals.close(short)

    assert await lab.terminals.look("em-fox-g10", owner="i/fox/10") == Present(long)
    assert await lab.terminals.look("em-fox-g1", owner="i/fox/1") == Absent()


@proves("R-11")
async def test_a_session_of_another_owner_is_neither_opened_nor_closed(lab: TmuxLab) -> None:
    theirs = await lab.terminals.open("em-fox-g1", owner="other/fox/1")

    with pytest.raises(Conflict, match="another owner"):
        await lab.terminals.open("em-fox-g1", owner="i/fox/1")
    with pytest.raises(Conflict, match="belongs to other/fox/1"):
        await lab.terminals.close(replace(theirs, owner="i/fox/1"))

    assert await lab.terminals.look("em-fox-g1", owner="i/fox/1") == Absent()
    assert await lab.terminals.look("em-fox-g1", owner="other/fox/1") == Present(theirs)


async def test_a_session_that_lost_a_window_is_not_passed_off_as_whole(lab: TmuxLab) -> None:
    terminal = await lab.terminals.open("em-fox-g1", owner="i/fox/1")
    lab.tmux("kill-pane", "-t", terminal.monitor_pane)

    assert await lab.terminals.look("em-fox-g1", owner="i/fox/1") == Present(
        replace(terminal, monitor_pane="")
    )
    with pytest.raises(Unavailable, match="lost a window"):
        await lab.terminals.open("em-fox-g1", owner="i/fox/1")


async def test_closing_twice_is_harmless(lab: TmuxLab) -> None:
    terminal = await lab.terminals.open("em-fox-g1", owner="i/fox/1")

    await lab.terminals.close(terminal)
    await lab.terminals.close(terminal)

    assert await lab.terminals.look("em-fox-g1", owner="i/fox/1") == Absent()
    assert await lab.terminals.panes() == Present([])


@pytest.mark.parametrize("name", ["", "_hub", "a:b", "a b", "=a", "-d", "a#{pid}", "x" * 101])
async def test_a_name_that_tmux_would_read_as_something_else_is_refused(lab: TmuxLab, name: str) -> None:
    with pytest.raises(UsageError):
        await lab.terminals.open(name, owner="i/fox/1")


async def test_a_socket_path_too_long_for_the_system_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="bytes long") as caught:
        TmuxTerminals(tmp_path / ("x" * 100), tmp_path)

    assert "shorter" in caught.value.hint


@proves("TMUX-002")
async def test_a_program_replaces_the_placeholder_and_its_pid_is_returned(lab: TmuxLab) -> None:
    terminal = await lab.terminals.open("em-fox-g1", owner="i/fox/1")
    before = await pane(lab, terminal.agent_pane)

    pid = await lab.terminals.run(terminal.agent_pane, ["sleep", "1000"], cwd=lab.folder)

    after = await pane(lab, terminal.agent_pane)
    assert (before.started, before.dead, before.owner, before.in_mode) == (False, False, "i/fox/1", False)
    assert (after.started, after.dead, after.pid, after.width, after.height) == (True, False, pid, 200, 50)
    eventually(lambda: psutil.Process(pid).cwd() == str(lab.folder))


@proves("TMUX-002")
@pytest.mark.parametrize("way", ["connection", "process"])
async def test_every_word_reaches_the_program_as_it_is(lab: TmuxLab, way: str) -> None:
    terminal = await lab.terminals.open("em-fox-g1", owner="i/fox/1")
    server = TmuxServer(lab.socket, lab.folder, deadline_s=5)
    say = server.act if way == "connection" else server.once
    words = [
        "",
        ";",
        "a;",
        "a\\;",
        "$HOME",
        "#{pid}",
        "'",
        '"',
        "~",
        "\\",
        "\\n",
        "two\nlines\r",
        "é世",
        "%1",
        "-k",
        "{",
        "}",
    ]
    record = ["sh", "-c", 'printf "%s\\0" "$@" >"$0.new" && mv "$0.new" "$0"', str(lab.folder / "words")]

    await say(["respawn-pane", "-k", "-t", terminal.agent_pane, "--", *record, *words])
    await server.close()

    eventually(lambda: (lab.folder / "words").exists())
    assert (lab.folder / "words").read_bytes().decode().split("\0")[:-1] == words


@pytest.mark.parametrize("name", ["a#{pid}", "b#[x]", "c##d", "#(true)", "e'f $HOME"])
async def test_a_directory_is_entered_whatever_its_name_holds(lab: TmuxLab, name: str) -> None:
    terminal = await lab.terminals.open("em-fox-g1", owner="i/fox/1")
    (lab.folder / name).mkdir()

    pid = await lab.terminals.run(terminal.agent_pane, ["sleep", "1000"], cwd=lab.folder / name)

    eventually(lambda: psutil.Process(pid).cwd() == str(lab.folder / name))


async def test_a_missing_directory_is_refused_and_the_pane_left_alone(lab: TmuxLab) -> None:
    terminal = await lab.terminals.open("em-fox-g1", owner="i/fox/1")

    with pytest.raises(NotFound, match="gone"):
        await lab.terminals.run(terminal.agent_pane, ["sleep", "1000"], cwd=lab.folder / "gone")

    assert not (await pane(lab, terminal.agent_pane)).started


@proves("TMUX-003", "R-14")
@pytest.mark.parametrize(
    ("argv", "end"),
    [
        (["true"], (0, "")),
        (["sh", "-c", "exit 7"], (7, "")),
        (["sh", "-c", "kill -9 $$"], (None, "SIGKILL")),
        (["no-such-program"], (127, "")),
    ],
)
async def test_how_a_program_ended_stays_readable(
    lab: TmuxLab, argv: list[str], end: tuple[int | None, str]
) -> None:
    terminal = await lab.terminals.open("em-fox-g1", owner="i/fox/1")

    await lab.terminals.run(terminal.agent_pane, argv, cwd=lab.folder)

    # tmux learns that the terminal was closed and how the program ended separately, in any order.
    async def is_known() -> bool:
        ended = await pane(lab, terminal.agent_pane)
        return ended.dead and (ended.exit_code, ended.exit_signal) == end

    await async_eventually(is_known)


@proves("TMUX-006")
async def test_a_program_cannot_forge_panes_with_its_name(lab: TmuxLab) -> None:
    terminal = await lab.terminals.open("em-fox-g1", owner="i/fox/1")
    forged = "x\n%77 $77 1 0   1 0 9 9 0 0 0 i/other/1 fake\n"

    await lab.terminals.run(
        terminal.agent_pane, ["bash", "-c", 'exec -a "$0" sleep 1000', forged], cwd=lab.folder
    )

    async def is_renamed() -> bool:
        return (await pane(lab, terminal.agent_pane)).command.startswith("x")

    await async_eventually(is_renamed)
    seen = await lab.terminals.panes()
    assert isinstance(seen, Present)
    panes = [terminal.agent_pane, terminal.services_pane, terminal.monitor_pane]
    assert [pane.id for pane in seen.value] == panes


@proves("TMUX-004")
async def test_the_services_window_shows_one_titled_pane_per_viewer(lab: TmuxLab) -> None:
    terminal = await lab.terminals.open("em-fox-g1", owner="i/fox/1")
    shown = ["list-panes", "-t", terminal.services_pane, "-F", "#{@envmgr-viewer}"]

    await lab.terminals.show(terminal, {name: ["sleep", "1000"] for name in ("old", "older", "oldest")})
    await lab.terminals.show(terminal, {"web": ["sleep", "1000"], "db #{pid}": ["sleep", "1000"]})

    assert lab.tmux(*shown).splitlines() == ["web", "db #{pid}"]
    assert (await pane(lab, terminal.services_pane)).started

    await lab.terminals.show(terminal, {})

    assert len(lab.tmux(*shown).splitlines()) == 1
    assert not (await pane(lab, terminal.services_pane)).started


async def test_viewers_for_which_there_is_no_room_are_left_out(lab: TmuxLab) -> None:
    terminal = await lab.terminals.open("em-fox-g1", owner="i/fox/1")
    lab.tmux("resize-window", "-t", terminal.services_pane, "-x", "20", "-y", "10")

    await lab.terminals.show(terminal, {f"service-{number}": ["sleep", "1000"] for number in range(40)})

    shown = lab.tmux("list-panes", "-t", terminal.services_pane, "-F", "#{@envmgr-viewer}").splitlines()
    assert 2 <= len(shown) < 40
    assert shown == [f"service-{number}" for number in range(len(shown))]


@proves("TMUX-005")
@pytest.mark.parametrize("key", [b"\x1d", b"\x1b[21~"], ids=["C-]", "F10"])
async def test_a_person_gets_into_exactly_this_session_at_their_size_and_out_again(
    lab: TmuxLab, key: bytes
) -> None:
    await lab.terminals.open("em-fox-g10", owner="i/fox/10")
    terminal = await lab.terminals.open("em-fox-g1", owner="i/fox/1")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 90, 0, 0))
    person = subprocess.Popen(  # noqa: ASYNC220 - starting it takes a millisecond
        lab.terminals.attach_command(terminal, window="services"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={"PATH": os.environ["PATH"], "TERM": "xterm", "TMUX": "/elsewhere,1,0"},
        start_new_session=True,
    )
    os.close(theirs)
    clients = [
        "list-clients",
        "-F",
        "#{client_control_mode} #{session_name} #{window_name} #{window_width}x#{window_height}",
    ]

    eventually(lambda: "0 em-fox-g1 services 90x30" in lab.tmux(*clients).splitlines())
    os.write(ours, key)

    eventually(lambda: person.poll() is not None)
    os.close(ours)
    assert person.returncode == 0
    assert isinstance(await lab.terminals.look("em-fox-g1", owner="i/fox/1"), Present)


@proves("ATTACH-002")
async def test_a_session_is_known_from_another_that_has_taken_its_place(lab: TmuxLab) -> None:
    def line() -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    first = await lab.terminals.open("em-fox-g1", owner="i/fox/1")
    command = lab.terminals.identify_command(first)
    said = line()
    assert said
    assert line() == said

    await lab.terminals.close(first)
    assert line() != said
    await lab.terminals.open("em-fox-g1", owner="i/fox/1")

    assert line() != said


@proves("TMUX-003")
async def test_a_program_that_tmux_forgot_to_reap_still_tells_how_it_ended(lab: TmuxLab) -> None:
    panes, pids = [], []
    for number in range(30):
        terminal = await lab.terminals.open(f"em-fox-g{number}", owner=f"i/fox/{number}")
        pids.append(await lab.terminals.run(terminal.agent_pane, ["sleep", "1000"], cwd=lab.folder))
        panes.append(terminal.agent_pane)

    for pid in pids:  # all at once: tmux 3.3a forgets some of them
        os.kill(pid, signal.SIGKILL)

    for name in panes:
        assert await async_eventually(partial(how_it_ended, lab, name)) == "SIGKILL"


async def how_it_ended(lab: TmuxLab, name: str) -> str:
    ended = await pane(lab, name)
    return ended.exit_signal if ended.dead else ""
