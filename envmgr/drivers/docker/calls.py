"""Calls of the docker SDK in worker threads: one client per call at a time, deadlines, errors translated once."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from envmgr.aio import blocking
from envmgr.drivers.docker import trouble
from envmgr.drivers.docker.address import SYSTEM_SOCKET, Address, given, usual
from envmgr.errors import ConfigError, EnvmgrError, NotFound, Unavailable
from envmgr.model.observe import Absent, Present, Seen, Unknown

if TYPE_CHECKING:
    import docker

T = TypeVar("T")
Client = Any
"""A `docker.APIClient`; the SDK ships no types."""

_CHANGING = "docker-change"
ENDING = "docker-end"
"""Lane of what ends containers: it does not wait behind thirty starts that a wedged engine holds up."""

_KEPT_CLIENTS = 4
# What changes something is waited for: it cannot be called back.
_PATIENCE = 6.0
_SLACK_S = 0.5


class Calls:
    """Asks and tells one engine. Nothing is contacted before the first call.

    Args:
        host: The engine's address; empty for DOCKER_HOST, else the usual sockets, as they are found at each new
            connection.
        deadline_s: Seconds until a look gives up; a change may take six times as long.
    """

    def __init__(self, host: str, *, deadline_s: float, system_socket: str = SYSTEM_SOCKET) -> None:
        self._host, self._system_socket = host, system_socket
        self._address: Address | None = None
        self.deadline_s = deadline_s
        self.change_s = deadline_s * _PATIENCE
        self._idle: list[Client] = []
        self._version = ""
        self._lock = threading.Lock()

    async def look(self, ask: Callable[[Client], T], *, what: str, deadline_s: float | None = None) -> T:
        """Ask something that changes nothing; given up at the deadline, whatever the thread does.

        Args:
            deadline_s: When a shorter one than all looks have will do.

        Raises:
            ConfigError: The engine's address cannot be used.
            Unobservable: No answer in time, or the connection broke.
            Unavailable: Nobody serves the address.
            NotFound: The engine answered that there is no such thing.
        """
        within_s = min(deadline_s or self.deadline_s, self.deadline_s)

        def ask_in_thread() -> T:
            return self._call(ask, what=what, deadline_s=within_s)

        # The thread's own deadline comes first, so that threads do not pile up before a wedged engine.
        return await blocking.look("docker", within_s + _SLACK_S, ask_in_thread)

    async def seen(
        self, ask: Callable[[Client], T], *, what: str, deadline_s: float | None = None
    ) -> Seen[T]:
        """The same in three values: Absent is the engine's own "no such thing", Unknown that it could not be asked."""
        try:
            return Present(await self.look(ask, what=what, deadline_s=deadline_s))
        except NotFound:
            return Absent()
        except (Unavailable, ConfigError) as error:
            return Unknown(error.message)

    async def act(
        self, do: Callable[[Client], T], *, what: str, deadline_s: float | None = None, lane: str = _CHANGING
    ) -> T:
        """Change something; waited for even when cancelled.

        Raises:
            Unobservable: No answer within `deadline_s`, or a broken connection: it may have happened, or happen yet.
            EnvmgrError: As `trouble.refusal` says.
        """

        def do_in_thread() -> T:
            return self._call(do, what=what, deadline_s=deadline_s or self.change_s)

        # Threads of their own: looks have deadlines, and must not wait behind thirty starts.
        return await blocking.act(lane, do_in_thread)

    async def reach(self) -> tuple[Address, str]:
        """Where the engine is, and the API version both sides speak, such as `1.41`. For connections of our own."""
        address, version = self._address, self._version
        if not version or address is None:
            version = await self.look(_agreed, what="asking for its version")
            address = self._address
        if address is None:
            raise trouble.down(self._address)
        return address, version

    @property
    def address(self) -> Address | None:
        """Of the last call; None before the first."""
        return self._address

    async def find(self) -> Address | None:
        """Where a call would go now. Raises ConfigError for an address that cannot be used."""
        return await blocking.look("docker", self.deadline_s, self._find)

    async def is_expected(self) -> bool:
        """Whether an engine is meant to be there: told so, its socket exists, or it is installed."""
        try:
            return await self.find() is not None
        except ConfigError:
            return True

    def _find(self) -> Address | None:
        # Not once for all: an address that makes no sense matters to those only who use containers.
        return given(self._host) or usual(system=self._system_socket)

    async def knock(self) -> Seen[None]:
        """See `Engine.knock`. Never imports the SDK."""
        try:
            return await blocking.look("docker", self.deadline_s, self._knock)
        except EnvmgrError as error:
            return Unknown(error.message)

    def _knock(self) -> Seen[None]:
        try:
            address = self._find()
            if address is None:
                return Absent()
            _knock(address, self.deadline_s)
        except (ConfigError, PermissionError):
            return Absent()
        except TimeoutError:
            return Present(None)  # it is there, and too busy to take another connection
        except OSError as error:
            return Unknown(str(error))
        return Present(None)

    async def gone(
        self, ask: Callable[[Client], object], *, what: str, again: Callable[[Client], object]
    ) -> None:
        """Ask until the engine says that it is not there; `again` repeats the removal.

        Raises:
            Unobservable: It is still there when the time for a change is over.
        """
        with anyio.move_on_after(self.change_s):
            pause_s = 0.01
            while True:
                try:
                    await self.look(ask, what=what)
                except NotFound:
                    return
                await anyio.sleep(pause_s)
                pause_s = min(pause_s * 2, 0.5)
                with contextlib.suppress(NotFound):
                    await self.act(again, what=what, lane=ENDING)
        raise trouble.silent(self._address, what, self.change_s)

    def close(self) -> None:
        """Close the connections that are kept. Later calls open new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for client in idle:
            client.close()

    def _call(self, call: Callable[[Client], T], *, what: str, deadline_s: float) -> T:
        # The SDK costs 90 ms and 10 MB; it is imported here, in a thread, so that a daemon without containers never pays.
        import docker.errors
        import requests

        try:
            with self._client(deadline_s) as client:
                return call(client)
        except TimeoutError as error:
            raise trouble.silent(self._address, what, deadline_s) from error
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            raise _translated(error, at=self._address, what=what, deadline_s=deadline_s) from error

    @contextlib.contextmanager
    def _client(self, deadline_s: float) -> Iterator[Client]:
        client = self._take(deadline_s)
        client.timeout = deadline_s
        try:
            yield client
        except BaseException as error:
            # An answer, even a bad one, leaves the connection in order; anything else does not.
            if _is_answer(error):
                self._put(client)
            else:
                self._forget(client)
            raise
        self._put(client)

    def _take(self, deadline_s: float) -> Client:
        within_s = min(deadline_s, self.deadline_s)
        with self._lock:
            idle = self._idle.pop() if self._idle else None
            self._address = address = (self._address if idle else None) or self._find()
        if address is None:
            raise trouble.down(self._address)
        try:
            _knock(address, within_s)
        except OSError:
            if idle is not None:
                self._forget(idle)
            raise
        client = idle or _new_client(address, self._version, within_s)
        # Also of one that is used again: another call's trouble may have made us forget it meanwhile.
        self._version = client.api_version
        return client

    def _put(self, client: Client) -> None:
        with self._lock:
            if len(self._idle) < _KEPT_CLIENTS:
                self._idle.append(client)
                return
        client.close()

    def _forget(self, client: Client) -> None:
        # An engine that comes back may be another version, and old connections lead nowhere.
        client.close()
        self._version = ""
        self.close()


def _knock(address: Address, within_s: float) -> None:
    """See that somebody serves the socket; otherwise nothing was sent. The SDK would leave its own socket open."""
    if address.socket:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            door.settimeout(within_s)
            door.connect(address.socket)


def _agreed(client: Client) -> str:
    client.ping()
    return str(client.api_version)


def _new_client(address: Address, version: str, timeout_s: float) -> docker.APIClient:
    import docker
    import docker.tls

    class Direct(docker.APIClient):  # type: ignore[misc]  # the SDK ships no types
        """Heeds no proxies and certificates of the environment: those of the engine say who it is."""

        trust_env = property(lambda self: False, lambda self, value: None)

    tls: object = False
    if folder := address.certificates:
        pair = (f"{folder}/cert.pem", f"{folder}/key.pem")
        tls = docker.tls.TLSConfig(client_cert=pair, ca_cert=f"{folder}/ca.pem", verify=True)
    return Direct(
        base_url=address.url, version=version or "auto", timeout=timeout_s, tls=tls, max_pool_size=1
    )


def _is_answer(error: BaseException) -> bool:
    import docker.errors

    # "client version 1.47 is too new": the engine is another one than the version was agreed on with.
    return isinstance(error, docker.errors.APIError) and "client version" not in (error.explanation or "")


def _translated(error: BaseException, *, at: Address | None, what: str, deadline_s: float) -> EnvmgrError:
    import docker.errors
    import requests

    if isinstance(error, docker.errors.APIError):
        return trouble.refusal(error.status_code or 0, error.explanation or str(error), what=what)
    if isinstance(error, docker.errors.DockerException) and error.__cause__ is not None:
        return _translated(
            error.__cause__, at=at, what=what, deadline_s=deadline_s
        )  # while agreeing on a version
    if isinstance(error, requests.Timeout):
        return trouble.silent(at, what, deadline_s)
    if isinstance(error, requests.RequestException) and not _never_sent(error):
        return trouble.broken(at, what)
    return trouble.down(at, error)


def _never_sent(error: BaseException) -> bool:
    """Whether no connection came about, so that nothing can have happened. The reason lies some wrappers deep."""
    seen: list[BaseException] = []
    left: list[object] = [error]
    while left:
        each = left.pop()
        if not isinstance(each, BaseException) or each in seen:
            continue
        if isinstance(each, (ConnectionRefusedError, FileNotFoundError, PermissionError, socket.gaierror)):
            return True
        seen.append(each)
        left += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
    return False
