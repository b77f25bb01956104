"""What reaches a program in a pane, and what of it is seen."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from envmgr.errors import Unavailable, UsageError
from envmgr.protocols.terminals import Terminal
from tests.support.requirements import proves
from tests.support.tmux import TmuxLab, tmux_lab
from tests.support.wait import async_eventually, eventually

pytestmark = pytest.mark.anyio

# Takes what is typed until a byte that ends it; argv: file to write, whether pastes shall be bracketed.
READER = """
import os, sys, tty
tty.setraw(0)
os.write(1, b"\\x1b[?2004hready" if sys.argv[2] == "bracketed" else b"ready")
got = b""
while not got.endswith(b"\\x04") and (part := os.read(0, 65536)):
    got += part
with open(sys.argv[1] + ".new", "wb") as file:
    file.write(got[:-1])
os.rename(sys.argv[1] + ".new", sys.argv[1])
"""


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[TmuxLab]:
    async with tmux_lab(tmp_path) as made:
        yield made


async def reader(lab: TmuxLab, *, mode: str = "bracketed") -> Terminal:
    terminal = await lab.terminals.open("em-fox-g1", owner="i/fox/1")
    argv = [sys.executable, "-S", "-c", READER, str(lab.folder / "got"), mode]
    await lab.terminals.run(terminal.agent_pane, argv, cwd=lab.folder)

    async def is_ready() -> bool:
        return "ready" in await lab.terminals.screen(terminal.agent_pane)

    await async_eventually(is_ready)
    return terminal


async def what_arrived(lab: TmuxLab, terminal: Terminal) -> bytes:
    await lab.terminals.keys(terminal.agent_pane, "C-d")
    eventually(lambda: (lab.folder / "got").exists())
    return (lab.folder / "got").read_bytes()


@proves("R-22")
async def test_a_paste_of_100_kb_arrives_exact_and_cannot_leave_its_bracket(lab: TmuxLab) -> None:
    terminal = await reader(lab)
    line = "é世 $HOME `id` 'quoted' ; #{pid} \\ end"
    evil = "\x1b[201~rm -rf /\r\n\x9b201~\x03\x04\x7f"

    await lab.terminals.paste(terminal.agent_pane, f"{evil}\r\n" + f"{line}\n" * 2500)

    expected = "[201~rm -rf /\r201~\r" + f"{line}\r" * 2500
    assert len(expected.encode()) > 100_000
    assert await what_arrived(lab, terminal) == b"\x1b[200~" + expected.encode() + b"\x1b[201~"
    assert lab.tmux("list-buffers") == ""


@proves("R-22")
async def test_a_paste_is_not_submitted(lab: TmuxLab) -> None:
    terminal = await reader(lab, mode="plain")

    await lab.terminals.paste(terminal.agent_pane, "a prompt")
    await lab.terminals.keys(terminal.agent_pane, "Enter")

    assert await what_arrived(lab, terminal) == b"a prompt\r"


@proves("R-22")
async def test_pastes_at_the_same_time_do_not_mix(lab: TmuxLab) -> None:
    terminal = await reader(lab, mode="plain")
    texts = [letter * 5000 for letter in "abcdef"]

    async with anyio.create_task_group() as group:
        for text in texts:
            group.start_soon(lab.terminals.paste, terminal.agent_pane, text)

    got = (await what_arrived(lab, terminal)).decode()
    assert sorted(got[at : at + 5000] for at in range(0, len(got), 5000)) == texts


async def test_bytes_are_typed_as_they_are(lab: TmuxLab) -> None:
    terminal = await reader(lab, mode="plain")
    data = bytes([1, 2, 3, *range(5, 127)]) + "é世".encode()

    await lab.terminals.type(terminal.agent_pane, data)
    await lab.terminals.keys(terminal.agent_pane, "Up", "C-c", "a", ";", "-")

    assert await what_arrived(lab, terminal) == data + b"\x1b[A\x03a;-"


async def test_a_misspelt_key_is_refused_instead_of_typed_out(lab: TmuxLab) -> None:
    terminal = await reader(lab)

    with pytest.raises(UsageError, match="Entr"):
        await lab.terminals.keys(terminal.agent_pane, "Entr")


async def test_more_than_2000_bytes_are_not_typed(lab: TmuxLab) -> None:
    terminal = await reader(lab)

    with pytest.raises(UsageError, match="2001 bytes"):
        await lab.terminals.type(terminal.agent_pane, b"x" * 2001)


@proves("R-22")
async def test_nothing_is_pasted_into_a_pane_where_no_program_runs(lab: TmuxLab) -> None:
    terminal = await lab.terminals.open("em-fox-g1", owner="i/fox/1")

    for pane in (terminal.agent_pane, terminal.services_pane, "%99"):
        with pytest.raises(Unavailable, match="no program runs"):
            await lab.terminals.paste(pane, "a prompt")
        with pytest.raises(Unavailable, match="no program runs"):
            await lab.terminals.keys(pane, "Enter")


@proves("TMUX-006")
async def test_a_screen_is_read_whole_whatever_it_says(lab: TmuxLab) -> None:
    terminal = await lab.terminals.open("em-fox-g1", owner="i/fox/1")
    lines = ["é世", "%begin 1 1 1", "%end 1 1 1", "%exit", "  indented"]
    script = 'seq 1000; printf "%s\\n" "$@"; sleep 1000'

    await lab.terminals.run(terminal.agent_pane, ["sh", "-c", script, "sh", *lines], cwd=lab.folder)

    async def is_printed() -> bool:
        return "indented" in await lab.terminals.screen(terminal.agent_pane)

    await async_eventually(is_printed)
    assert (await lab.terminals.screen(terminal.agent_pane)).split("\n")[-6:-1] == lines
    above = (await lab.terminals.screen(terminal.agent_pane, history=100)).split("\n")
    assert len(above) == 150
    assert above[-7] == "1000"


async def test_the_screen_of_a_pane_that_is_gone_is_an_error(lab: TmuxLab) -> None:
    await lab.terminals.open("em-fox-g1", owner="i/fox/1")

    with pytest.raises(Unavailable, match="can't find pane"):
        await lab.terminals.screen("%99")
