"""A daemon that is killed takes connections until the kernel has closed its socket: who asks then is asked for again."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import anyio
import pytest

from envmgr.app import client, paths
from envmgr.errors import Unavailable
from envmgr.interfaces.mcp.wire import Wire
from tests.support.requirements import proves

_BODY = b'{"ok": true}'
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)


class Door:
    """What listens in the daemon's place. Each that asks gets the next fate; who says nothing only looked."""

    def __init__(self, listener: socket.socket, fates: list[str]) -> None:
        self._listener, self._fates = listener, fates
        self.asked = 0

    def serve(self) -> None:
        """Until all fates have met somebody."""
        while self._fates:
            connection, _ = self._listener.accept()
            with connection:
                if not connection.recv(1, socket.MSG_PEEK):
                    continue
                self.asked += 1
                fate = self._fates.pop(0)
                if fate == "ends before it reads":
                    continue
                connection.recv(65536)
                if fate == "answers":
                    connection.sendall(_ANSWER)


Opened = Callable[..., AbstractContextManager[Door]]


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    monkeypatch.setenv("ENVMGR_STATE_DIR", str(tmp_path))

    @contextmanager
    def opened(*fates: str) -> Iterator[Door]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(tmp_path / paths.SOCKET))
            listener.listen()
            made = Door(listener, list(fates))
            thread = threading.Thread(target=made.serve, daemon=True)
            thread.start()
            yield made
            thread.join(10)
            assert not thread.is_alive()

    return opened


def by_command() -> object:
    return json.loads(client.ask("POST", "/api/v1/x", {"a": 1}).body())


def by_bridge() -> object:
    async def ask() -> object:
        wire = Wire({})
        async with wire.ask("POST", "/api/v1/x", {"a": 1}) as answer:
            found = json.loads(await answer.body())
        await wire.aclose()
        return found

    return anyio.run(ask)


asks = pytest.mark.parametrize("ask", [by_command, by_bridge])


@asks
@proves("DAEMON-009")
def test_what_a_daemon_that_ended_had_not_read_is_asked_again(
    door: Opened, ask: Callable[[], object]
) -> None:
    with door("ends before it reads", "ends before it reads", "answers") as there:
        assert ask() == {"ok": True}

    assert there.asked == 3


@asks
@proves("DAEMON-009")
def test_what_it_had_read_may_have_been_done_and_is_not_asked_again(
    door: Opened, ask: Callable[[], object]
) -> None:
    with door("reads and ends") as there, pytest.raises(Unavailable, match="in the middle of its answer"):
        ask()

    assert there.asked == 1
