"""The keeper's one loop: requests as JSON lines on its socket, output of services, exits, and stops under way.

Part of the keeper: standard library only. Nothing in here waits for anything but the selector.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import time

from envmgr.drivers.keeper.desk import Desk, Refused
from envmgr.drivers.keeper.held import Held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_ROOM = "See whether descriptors, processes or disk space have run out."
_LINE_BYTES = 4 << 20  # a request with the largest environment exec takes
_BEHIND_BYTES = 1 << 20  # a follower that is this far behind is let go; it may come again


class Caller:
    """One connection: a request, its answer, and for followers all that comes after."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.asked, self.owed = bytearray(), bytearray()
        self.follows = False
        self.awaits = ""


class Server:
    """Runs until told to end."""

    def __init__(self, desk: Desk, listener: socket.socket) -> None:
        self._desk, self._listener = desk, listener
        self._callers: set[Caller] = set()
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._woken = self._hear_signals()
        self._selector.register(self._woken, selectors.EVENT_READ, self._wake)
        desk.announce = self._announce
        desk.watch, desk.unwatch = self._watch, self._unwatch

    def run(self) -> None:
        """Serve until dismissed, or until SIGTERM has ended all services."""
        while self._desk.stops or not self._desk.is_leaving:
            for key, _ in self._selector.select(self._pause_s()):
                _attempt(key.data)
            _attempt(self._end_stops)
        self._desk.sockets.close()  # before anybody can see that this keeper has gone

    def _pause_s(self) -> float | None:
        moments = [stop.next_at for stop in self._desk.stops.values()]
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _end_stops(self) -> None:
        for name, survivors in self._desk.look():
            for caller in [one for one in self._callers if name and one.awaits == name]:
                caller.awaits = ""
                self._say(caller, {"ok": True, "result": survivors})

    def _hear_signals(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        theirs.settimeout(0)
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        self._theirs = theirs  # kept, or it would be closed
        return ours

    def _wake(self) -> None:
        numbers = self._woken.recv(4096)
        self._desk.reap()
        if signal.SIGTERM in numbers:
            self._desk.leave()

    def _watch(self, held: Held) -> None:
        self._selector.register(_fd(held), selectors.EVENT_READ, lambda: self._desk.drain(held))

    def _unwatch(self, held: Held) -> None:
        self._selector.unregister(_fd(held))

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.settimeout(0)
        caller = Caller(sock)
        self._callers.add(caller)
        self._selector.register(sock, selectors.EVENT_READ, lambda: self._serve(caller))

    def _serve(self, caller: Caller) -> None:
        """Take what has come and give what is owed; any end of the connection ends the caller."""
        try:
            self._flush(caller)
            data = caller.sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        caller.asked += data
        if not data or len(caller.asked) > _LINE_BYTES:
            self._drop(caller)
        while (end := caller.asked.find(b"\n")) >= 0 and caller in self._callers:
            line = bytes(caller.asked[:end])
            del caller.asked[: end + 1]
            self._answer(caller, line)

    def _answer(self, caller: Caller, line: bytes) -> None:
        try:
            ask = json.loads(line)
            self._check_owner(ask)
            result = self._do(caller, ask)
        except Refused as no:
            problem = {"code": no.code, "message": no.message, "hint": no.hint, "details": no.details}
            self._say(caller, {"ok": False, "problem": problem})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problem = {"code": "usage", "message": f"the keeper does not understand: {error!r}"}
            self._say(caller, {"ok": False, "problem": problem})
        except OSError as error:
            problem = {"code": "unavailable", "message": f"the keeper cannot do that: {error}", "hint": _ROOM}
            self._say(caller, {"ok": False, "problem": problem})
        else:
            if not caller.awaits and not caller.follows:
                self._say(caller, {"ok": True, "result": result})

    def _check_owner(self, ask: dict[str, Any]) -> None:
        if ask["owner"] != self._desk.owner:
            message = f"this folder's keeper belongs to {self._desk.owner}"
            raise Refused("conflict", message, "Use the installation that started it, or another folder.")

    def _do(self, caller: Caller, ask: dict[str, Any]) -> object:
        match ask["verb"]:
            case "status":
                return self._desk.documents()
            case "launch":
                return self._desk.launch(ask["what"])
            case "signal":
                self._desk.signal(ask["service"], signal.Signals[ask["signal"]])
            case "stop" if ask["service"] not in self._desk.services:
                return []
            case "stop":
                number, grace_s = signal.Signals[ask["signal"]], float(ask["grace_s"])
                how = {name: ask.get(name, "") for name in ("over_limit", "keys")}
                self._desk.stop(ask["service"], number, grace_s, **how)
                caller.awaits = ask["service"]
            case "forget":
                self._desk.forget(ask["service"])
            case "follow":
                caller.follows = True
                for document in self._desk.documents().values():
                    self._say(caller, document)
            case "end":
                self._desk.leave_empty()
            case verb:
                raise ValueError(verb)
        return None

    def _announce(self, document: dict[str, Any]) -> None:
        for caller in [one for one in self._callers if one.follows]:
            self._say(caller, document)

    def _say(self, caller: Caller, document: object) -> None:
        caller.owed += json.dumps(document).encode() + b"\n"
        try:
            self._flush(caller)
        except OSError:
            self._drop(caller)

    def _flush(self, caller: Caller) -> None:
        while caller.owed:
            try:
                del caller.owed[: caller.sock.send(caller.owed)]
            except BlockingIOError:
                break
        if len(caller.owed) > _BEHIND_BYTES:
            raise BrokenPipeError
        waits = selectors.EVENT_READ | (selectors.EVENT_WRITE if caller.owed else 0)
        key = self._selector.get_key(caller.sock)
        if key.events != waits:
            self._selector.modify(caller.sock, waits, key.data)

    def _drop(self, caller: Caller) -> None:
        if caller in self._callers:
            self._callers.discard(caller)
            self._selector.unregister(caller.sock)
            caller.sock.close()


def _attempt(act: Callable[[], object]) -> None:
    try:
        act()
    except Exception as error:  # noqa: BLE001  one bad request or pipe must not take the services down
        os.write(2, f"{type(error).__name__}: {error}\n".encode())


def _fd(held: Held) -> int:
    assert held.output is not None
    return held.output
