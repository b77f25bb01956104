"""The client: typed calls with deadlines, sent again where that is safe."""

from __future__ import annotations

import http.client
import json
import os
import random
import time
import uuid
from collections.abc import Generator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

from envmgr.clients.operations import Operations
from envmgr.clients.wire import Reply, Wire
from envmgr.errors import BudgetExhausted, EnvmgrError, Unavailable, from_problem

# Any: results are JSON; the methods of `Operations` give them their types.

URL = "ENVMGR_URL"
KEY = "ENVMGR_AGENT_KEY"
_BODILESS = ("GET", "DELETE")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0


class Client(Operations):
    """Calls of one daemon; every operation is a method. Close it, or use it as a context manager.

    A call is sent again after a pause that grows when nobody listened, when too much was asked (429), and, where asking
    twice does no harm, when the answer was lost or says that the same request may succeed later. What is submitted
    carries an idempotency key, so that it is done once.
    """

    def __init__(
        self, address: str = "", *, key: str = "", timeout_s: float = 30.0, retries: int = 3
    ) -> None:
        """Nothing is sent yet.

        Args:
            address: `http://127.0.0.1:8750`, `https://HOST` or `unix:PATH`; left out, ENVMGR_URL or the daemon's socket.
            key: Left out, ENVMGR_AGENT_KEY; at the socket without a key you are its owner.
            timeout_s: Seconds without a sign of the daemon until a call fails; time that a call may wait is added.
            retries: How often a call is sent again at most.
        """
        self._wire = Wire(address or default_address())
        self._key: str | None = key or os.environ.get(KEY)
        self._timeout_s, self._retries = timeout_s, retries

    def close(self) -> None:
        """Let go of all connections."""
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, method: str, path: str, asked: Mapping[str, object], *, repeats: bool = False) -> Any:
        """Ask for something that has no method here; `{x}` in the path are fields of `asked`. Raises EnvmgrError."""
        return self._call(method, path, asked, repeats=repeats)

    def _call(
        self,
        method: str,
        path: str,
        asked: Mapping[str, object],
        *,
        repeats: bool = False,
        key: str = "",
        waits_s: float = 0.0,
    ) -> Any:
        if key and asked.get(key) is None:
            asked = {**asked, key: uuid.uuid4().hex}
        pause_s, left = _FIRST_PAUSE_S, self._retries
        while True:
            try:
                reply = self._send(method, path, asked, timeout_s=self._timeout_s + waits_s)
                return json.loads(self._wire.done(reply))
            except EnvmgrError as error:
                if left <= 0 or not _may_repeat(error, repeats=repeats):
                    raise
                wanted = error.details.get("retry_after_s")
                # Some later than others, so that many clients do not come back at the same time.
                pause = float(wanted) if isinstance(wanted, int | float) else pause_s * random.uniform(0.5, 1)
            time.sleep(min(pause, _LONGEST_PAUSE_S))
            pause_s, left = pause_s * 2, left - 1

    def _stream(self, method: str, path: str, asked: Mapping[str, object]) -> Generator[Any, None, None]:
        # A quiet log may have nothing to say for hours.
        reply = self._send(method, path, asked, timeout_s=self._timeout_s, is_patient=True)
        try:
            while line := reply.response.readline():
                item = json.loads(line)
                if list(item) == ["problem"]:
                    raise from_problem(item["problem"])
                yield item
        finally:
            reply.close()

    def _send(
        self,
        method: str,
        path: str,
        asked: Mapping[str, object],
        *,
        timeout_s: float,
        is_patient: bool = False,
    ) -> Reply:
        """Raises what the daemon answers as a problem; Unavailable when no answer comes."""
        path, body = _request(method, path, asked)
        headers = {"Accept": "application/json"}
        headers |= {"X-API-Key": self._key} if self._key is not None else {}
        headers |= {"Content-Type": "application/json"} if body is not None else {}
        try:
            reply = self._wire.send(
                method, path, body, headers=headers, timeout_s=timeout_s, is_patient=is_patient
            )
            if reply.status < 400:
                return reply
            problem = self._wire.done(reply)
        except (ConnectionRefusedError, FileNotFoundError) as error:
            raise NobodyListens("no daemon listens", hint="Start it with `envmgr daemon start`.") from error
        except TimeoutError as error:
            raise Unavailable(
                f"the daemon did not answer within {timeout_s:g} s", hint="See `envmgr daemon health`."
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"the answer was lost: {error}", hint="Ask again.") from error
        raise _error(problem, reply.status)


class NobodyListens(Unavailable):
    """The request reached nobody, so sending it again does no harm."""


def default_address() -> str:
    """ENVMGR_URL, else the daemon's socket in its state folder (as `envmgr.app.paths` has it)."""
    if url := os.environ.get(URL):
        return url
    if own := os.environ.get("ENVMGR_STATE_DIR"):
        return f"unix:{Path(own).expanduser().absolute() / 'daemon.sock'}"
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    base = base if base.is_absolute() else Path.home() / ".local" / "state"
    return f"unix:{base / 'envmgr' / 'daemon.sock'}"


def _request(method: str, path: str, asked: Mapping[str, object]) -> tuple[str, bytes | None]:
    """The target and the body."""
    rest = {name: value for name, value in asked.items() if value is not None}
    for name in list(rest):
        if f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", quote(str(rest.pop(name)), safe=""))
    if method not in _BODILESS:
        return path, json.dumps(rest).encode()
    words = {name: str(value).lower() if isinstance(value, bool) else value for name, value in rest.items()}
    return (f"{path}?{urlencode(words, doseq=True)}" if words else path), None


def _may_repeat(error: EnvmgrError, *, repeats: bool) -> bool:
    """Whether a failed call may be sent again: it certainly did nothing, or doing it twice does no harm."""
    if isinstance(error, (NobodyListens, BudgetExhausted)):
        return True
    return repeats and error.retryable


def _error(body: bytes, status: int) -> EnvmgrError:
    try:
        return from_problem(json.loads(body))
    except ValueError:
        return Unavailable(
            f"something before the daemon answered {status}", hint="Look at the reverse proxy."
        )
