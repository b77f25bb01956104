"""What a keeper can be asked: its services, their stops, and the record on disk.

Part of the keeper: standard library only.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import time

from envmgr.drivers import proc
from envmgr.drivers.keeper import listening, sweep
from envmgr.drivers.keeper.held import Held
from envmgr.drivers.keeper.logfile import LogFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

RECORD = "keeper.json"
_LEAVE_GRACE_S = 10.0
_LAST_WORDS_BYTES = 1 << 20


class Refused(Exception):
    """An answer that says no. `code` is one of envmgr's error codes."""

    def __init__(self, code: str, message: str, hint: str, **details: object) -> None:
        super().__init__(message)
        self.code, self.message, self.hint, self.details = code, message, hint, details


class Desk:
    """All state of a keeper; knows no sockets.

    Attributes:
        sockets: What services listen on, open from their first launch on.
        stops: Stops under way by service; "" is everything, for leaving.
        is_leaving: It takes nothing new, and ends when no stop is under way any more.
        announce: Called with the document of each service that started or ended.
        watch, unwatch: Called with a service whose output is open, and before it is closed.
    """

    def __init__(self, home: str, owner: str) -> None:
        self.home, self.owner = home, owner
        self.services: dict[str, Held] = {}
        self.stops: dict[str, sweep.Stop] = {}
        self.sockets = listening.Sockets()
        self.is_leaving = False
        self.announce: Callable[[dict[str, Any]], None] = lambda _: None
        self.watch: Callable[[Held], None] = lambda _: None
        self.unwatch: Callable[[Held], None] = lambda _: None
        self._boot_id = proc.boot_id()
        me = proc.row(os.getpid())
        assert me is not None
        self._start_ticks = me.start_ticks
        self._earlier = self._read_earlier()
        os.makedirs(f"{home}/logs", mode=0o700, exist_ok=True)
        self.write()

    def documents(self) -> dict[str, dict[str, Any]]:
        """Every service it was asked to hold."""
        return {name: held.document(self._boot_id) for name, held in self.services.items()}

    def launch(self, ask: Mapping[str, Any]) -> dict[str, Any]:
        """Start a service, or answer with the living one of the same generation."""
        name = str(ask["service"])
        if self.is_leaving:
            raise Refused("conflict", "the keeper is leaving", "Hire a new one.")
        before = self.services.get(name)
        if before is not None:
            if before.is_alive and before.generation == ask["generation"] and name not in self.stops:
                return before.document(self._boot_id)
            self._refuse_double(before)
            self._last_words(before)
            self._release(before)
        held = self.services[name] = self._start(name, ask)
        if held.output is not None:
            self.watch(held)
        return self._changed(held)

    def signal(self, name: str, number: int) -> None:
        """Signal every process of a service."""
        for one in sweep.of(self._get(name), self.services.values()):
            sweep.send(one, number)

    def drain(self, held: Held) -> bool:
        """Move waiting output to the log; returns whether there was some."""
        data = held.read() if held.output is not None else None
        if data:
            if held.log.write(data):
                self.write()
        elif data is not None:
            self._release(held)
        return bool(data)

    def forget(self, name: str) -> None:
        """Close the sockets of a service that will not come back."""
        self.sockets.drop(name)

    def stop(self, name: str, number: int, grace_s: float, *, over_limit: str = "", keys: str = "") -> None:
        """Begin to end a service, or hurry the stop under way. `look` tells when it is over.

        With keys that its terminal takes, the signal comes after half of the grace.
        """
        held = self._get(name)
        if held.is_alive:
            held.over_limit = over_limit or held.over_limit
        if name in self.stops:
            self.stops[name].hurry(grace_s)
        else:
            find = functools.partial(sweep.of, held, self.services.values())
            wait_s = grace_s / 2 if keys and held.type(keys) else 0.0
            self.stops[name] = sweep.Stop(find, number=number, grace_s=grace_s, wait_s=wait_s)

    def leave(self) -> None:
        """Begin to end everything."""
        if not self.is_leaving:
            self.is_leaving = True
            self.stops[""] = sweep.Stop(sweep.everything, number=signal.SIGTERM, grace_s=_LEAVE_GRACE_S)

    def leave_empty(self) -> None:
        """Leave at once; refused while something lives."""
        if alive := sweep.everything():
            named = ", ".join(f"{one.pid} ({one.name})" for one in alive[:8])
            raise Refused("conflict", f"the keeper still holds {named}", "Stop its services first.")
        self.is_leaving = True

    def look(self) -> list[tuple[str, list[int]]]:
        """Drive the stops whose moment has come; returns those that are over, with their survivors."""
        now, over = time.monotonic(), []
        for name, stop in list(self.stops.items()):
            if stop.next_at <= now and (survivors := stop.look()) is not None:
                # The last exit may not have been waited for yet; after a stop, status must know it.
                self.reap()
                del self.stops[name]
                over.append((name, survivors))
        return over

    def reap(self) -> None:
        """Wait for every child that has ended, services and orphans alike."""
        mains = {held.pid: held for held in self.services.values() if held.is_alive}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for stop in self.stops.values():
                stop.next_at = 0.0
            if (held := mains.get(pid)) is not None:
                held.ended(status)
                self._last_words(held)
                self._changed(held)

    def write(self) -> None:
        """Put the record in place at once; a full disk leaves the last one."""
        record = {
            "owner": self.owner,
            "boot_id": self._boot_id,
            "pid": os.getpid(),
            "start_ticks": self._start_ticks,
            "services": self._earlier | self.documents(),
        }
        fresh = f"{self.home}/{RECORD}.new"
        try:
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(fd, "w", encoding="utf-8") as file:
                json.dump(record, file)
            os.replace(fresh, f"{self.home}/{RECORD}")
        except OSError as error:
            with contextlib.suppress(OSError):  # stderr is a file of the same disk
                os.write(2, f"cannot write the record: {error}\n".encode())

    def _start(self, name: str, ask: Mapping[str, Any]) -> Held:
        before = self.services[name].document("") if name in self.services else self._earlier.get(name, {})
        logs = ask["logs"]
        try:
            log = LogFile(
                f"{self.home}/logs/{name}.log",
                max_bytes=logs["max_bytes"],
                keep=logs["keep"],
                base=before.get("log_base", 0),
            )
        except OSError as error:
            raise Refused("unavailable", f"cannot open the log: {error}", "Free some disk space.") from error
        try:
            sockets = self.sockets.take(name, ask.get("listen") or ())
        except listening.Taken as taken:
            log.close()
            message, hint = f"port {taken.port} is taken by another program", "See who listens: `ss -ltnp`."
            raise Refused("conflict.port", message, hint, port=taken.port) from taken
        except OSError:
            log.close()
            raise
        return Held(ask, log, launch=before.get("launch", 0) + 1, sockets=sockets)

    def _refuse_double(self, before: Held) -> None:
        name = before.service
        if name in self.stops:
            raise Refused("conflict", f"{name} is being stopped", "Launch it when the stop is over.")
        if alive := sweep.of(before, self.services.values()):
            pids = ", ".join(str(one.pid) for one in alive[:8])
            raise Refused("conflict", f"an earlier launch of {name} still lives: {pids}", "Stop it first.")

    def _get(self, name: str) -> Held:
        if name not in self.services:
            raise Refused("not_found", f"the keeper holds no service {name}", "Launch it first.")
        return self.services[name]

    def _last_words(self, held: Held) -> None:
        """Have in the log what a process wrote before its end, before anybody hears of the end."""
        enough = held.log.offset + _LAST_WORDS_BYTES
        while held.output is not None and held.log.offset < enough and self.drain(held):
            pass

    def _release(self, held: Held) -> None:
        if held.output is not None:
            self.unwatch(held)
            held.close()

    def _changed(self, held: Held) -> dict[str, Any]:
        self.write()
        document = held.document(self._boot_id)
        self.announce(document)
        return document

    def _read_earlier(self) -> dict[str, Any]:
        """Services of an earlier keeper of this folder: launch numbers and log offsets go on from there."""
        try:
            with open(f"{self.home}/{RECORD}", encoding="utf-8") as file:
                return dict(json.load(file)["services"])
        except (OSError, ValueError, KeyError, TypeError):
            return {}
