"""Services with a terminal, with an open input, and with sockets that outlive them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from envmgr.drivers.keeper.client import UnixKeepers
from envmgr.errors import PortTaken
from envmgr.protocols.keepers import Held, Keeper, Listen
from tests.support.keepers import OWNER, keeper_folder, launch, py, sh
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

_ABOUT = """
import os, sys
print([os.isatty(fd) for fd in (0, 1, 2)], os.get_terminal_size(), os.environ["TERM"])
print(os.getpgrp() == os.tcgetpgrp(0) == os.getsid(0) == os.getpid(), open("/dev/tty").isatty(), flush=True)
sys.stdout.write("x" * 300_000 + "\\nend\\n")
sys.exit(7)
"""
# Takes C-c as a program at a terminal does, and no notice of TERM.
_ENDS_BY_KEY = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(3)
"""
# One connection per launch is answered with the pid that was told to listen; then it crashes.
_SERVER = """
import os, socket, sys
assert os.environ["LISTEN_PID"] == str(os.getpid()), os.environ
assert os.environ["LISTEN_FDS"] == "2" and os.environ["LISTEN_FDNAMES"] == "http:admin", os.environ
servers = [socket.socket(fileno=fd) for fd in (3, 4)]
assert [s.getsockname()[1] for s in servers] == [int(a) for a in sys.argv[1:]], servers
print("ready", flush=True)
caller = servers[0].accept()[0]
caller.sendall(f"{os.getpid()}".encode())
caller.close()
os._exit(1)
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with keeper_folder(tmp_path) as folder:
        yield folder


@pytest.fixture
async def keeper(home: Path) -> Keeper:
    return await UnixKeepers().hire(home, owner=OWNER)


async def ended(keeper: Keeper) -> Held:
    async def state() -> Held | None:
        held = (await keeper.status())["web"]
        return None if held.is_alive else held

    found = await async_eventually(state)
    assert found is not None
    return found


async def says(keeper: Keeper, text: str) -> None:
    log = (await keeper.status())["web"].log
    await async_eventually(lambda: text in log.read_text())


@proves("KEEP-017")
async def test_a_terminal_is_the_controlling_one_and_the_log_has_all_of_its_output(keeper: Keeper) -> None:
    await keeper.launch(launch(*py(_ABOUT), tty=True))

    held = await ended(keeper)
    await says(keeper, "\nend\n")
    log = held.log.read_text()
    assert held.exit_code == 7
    assert log.splitlines()[:2] == [
        "[True, True, True] os.terminal_size(columns=120, lines=40) xterm-256color",
        "True True",
    ]
    assert log.endswith("x\nend\n")
    assert "\r" not in log
    assert log.count("x" * 300_000) == 1


@proves("KEEP-017")
async def test_what_outlives_the_leader_of_a_terminal_does_not_keep_it_alive(keeper: Keeper) -> None:
    await keeper.launch(launch(*sh("trap '' HUP; sleep 60 & echo begun; exit 4"), tty=True))

    assert (await ended(keeper)).exit_code == 4
    await says(keeper, "begun")
    assert await keeper.stop("web", grace_s=5.0) == ()


@proves("KEEP-017")
async def test_a_terminal_that_cannot_be_executed_in_leaves_nothing_open(keeper: Keeper, home: Path) -> None:
    held = await keeper.launch(launch("/nowhere/to/be/found", tty=True))

    assert held.error == "No such file or directory: /nowhere/to/be/found"
    record = await UnixKeepers().record(home)
    assert record is not None
    links = [path.readlink() for path in Path(f"/proc/{record.identity.pid}/fd").iterdir()]
    assert not [link for link in links if "pt" in str(link)]


@proves("KEEP-017")
async def test_an_input_is_at_its_end_unless_it_is_to_stay_open(keeper: Keeper) -> None:
    await keeper.launch(launch(*sh("timeout 0.5 cat; echo $?")))
    assert (await ended(keeper)).log.read_text() == "0\n"

    await keeper.launch(launch(*sh("timeout 0.5 cat; echo $?"), stdin=True))
    assert (await ended(keeper)).log.read_text() == "0\n124\n"


@proves("KEEP-018")
async def test_keys_are_typed_first_and_the_signal_comes_after_half_of_the_grace(keeper: Keeper) -> None:
    await keeper.launch(launch(*py(_ENDS_BY_KEY), tty=True))
    await says(keeper, "ready")

    assert await keeper.stop("web", grace_s=20.0, keys="\x03") == ()

    assert (await ended(keeper)).exit_code == 3


@proves("KEEP-018")
async def test_who_takes_no_notice_of_keys_gets_the_signal(keeper: Keeper) -> None:
    await keeper.launch(launch(*sh("stty -isig; echo ready; exec sleep 60"), tty=True))
    await says(keeper, "ready")

    assert await keeper.stop("web", grace_s=0.4, keys="\x03") == ()

    assert (await ended(keeper)).exit_signal == "SIGTERM"


def _ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return one.getsockname()[1], two.getsockname()[1]


def _answer(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), 20.0) as connection:
        return connection.recv(100).decode()


@proves("KEEP-019")
async def test_sockets_stay_open_while_their_service_is_started_again(keeper: Keeper) -> None:
    ports = _ports()
    listen = tuple(
        Listen(name=name, host="127.0.0.1", port=port)
        for name, port in zip(("http", "admin"), ports, strict=True)
    )
    what = launch(*py(_SERVER, *map(str, ports)), listen=listen)
    first = await keeper.launch(what)
    assert first.identity is not None
    assert await anyio.to_thread.run_sync(_answer, ports[0]) == str(first.identity.pid)
    await ended(keeper)

    answers: list[str] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_collect, ports[0], answers)  # while nothing runs
        second = await keeper.launch(what)

    assert second.identity is not None
    assert answers == [str(second.identity.pid)]
    assert (await ended(keeper)).exit_code == 1
    assert await keeper.stop("web") == ()
    await keeper.forget("web")
    with socket.create_server(("127.0.0.1", ports[0])):
        pass


async def _collect(port: int, answers: list[str]) -> None:
    answers.append(await anyio.to_thread.run_sync(_answer, port))


@proves("KEEP-019")
async def test_a_socket_that_cannot_be_had_is_told_with_its_port(keeper: Keeper) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        listen = (Listen(name="http", host="127.0.0.1", port=port),)
        with pytest.raises(PortTaken) as refused:
            await keeper.launch(launch("true", listen=listen))

    assert refused.value.port == port
    assert (await keeper.launch(launch("true", listen=listen))).error == ""
