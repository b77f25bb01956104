"""Who is let in: `Host` and `Origin` first, then the key, then how often.

Pages in a browser reach the loopback, also under names that their own server makes point there (DNS rebinding). No
browser reaches a Unix socket, but what forwards to one might; the checks cost nothing, so they hold at both doors.
"""

from __future__ import annotations

import getpass
import ipaddress
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

from envmgr.app.context import App
from envmgr.app.peers import agent_behind
from envmgr.errors import BudgetExhausted, Denied, Unauthenticated
from envmgr.interfaces.http.request import Request
from envmgr.model.door import DoorPolicy
from envmgr.model.principal import STRANGER, Principal, PrincipalKind

OURS = frozenset({"localhost", "envmgr"})
"""Names of ourselves: the loopback's, and the one that our own clients say at the socket."""
_MOST_REMEMBERED = 1024
_LONGEST_SESSION = 100
_PREFLIGHT = {
    "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE",
    "access-control-allow-headers": "authorization, content-type, x-api-key, x-request-id, last-event-id",
    "access-control-max-age": "600",
}


PEER = "peer"
"""In the state of a request: who is at the other end of a Unix socket."""


@dataclass(slots=True)
class Peer:
    """A process, and the agent that it works for once somebody has looked."""

    pid: int
    agent: str = ""
    is_known: bool = False


class Door:
    """One way in."""

    def __init__(self, app: App, *, is_tcp: bool) -> None:
        self._app, self._policy, self._is_tcp = app, app.door, is_tcp
        # The socket is its owner's alone, so who comes through it without a key is that person.
        self._owner = Principal(kind=PrincipalKind.PERSON, name=_user())

    def check_source(self, request: Request) -> None:
        """Raises Denied for a name that is not ours, and for pages of elsewhere."""
        host = request.headers.get("host", "")
        if not self._is_ours(host):
            raise Denied(
                f"this is not the host {host[:100]!r}",
                hint="Ask for localhost, or let a person add the name to the setting http.names.",
            )
        origin = request.headers.get("origin")
        if origin is not None and not self._is_welcome(origin, host):
            raise Denied(
                f"pages of {origin[:100]!r} may not ask here",
                hint="Let a person add it to the setting http.origins.",
            )

    def _is_ours(self, host: str) -> bool:
        name = _name(host)
        return name in OURS or name in self._policy.names or self._is_our_address(name)

    def _is_our_address(self, name: str) -> bool:
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or self._policy.is_remote

    def _is_welcome(self, origin: str, host: str) -> bool:
        """Configured, or the page came from here itself: `host` was checked before."""
        return origin in self._policy.origins or origin.partition("://")[2] == host

    def is_preflight(self, request: Request) -> bool:
        """Whether a browser asks beforehand what a configured page may do (CORS)."""
        return request.method == "OPTIONS" and request.headers.get("origin", "") in self._policy.origins

    def sharing(self, request: Request) -> dict[str, str]:
        """Headers that let a configured page read the answer (CORS)."""
        origin = request.headers.get("origin", "")
        if origin not in self._policy.origins:
            return {}
        more = _PREFLIGHT if request.method == "OPTIONS" else {}
        return {"access-control-allow-origin": origin, "vary": "Origin", **more}

    def principal(self, request: Request, *, is_open: bool, is_report: bool = False) -> Principal:
        """Who asks.

        Args:
            is_open: What is asked for needs no key.
            is_report: It is the hook of an assistant, which has no key.

        Raises:
            Unauthenticated: A key is missing where one is needed, or it is not good.
        """
        key = _key(request)
        if key is not None:
            owner, session = self._owner_of(key), _session(request)
            return replace(owner, session=session) if session else owner
        if not self._is_tcp:
            agent = None if is_report else self._agent(request)
            return replace(agent or self._owner, session=_session(request))
        if is_open:
            return STRANGER
        raise Unauthenticated(
            "this needs a key",
            hint="Send it as X-API-Key, or as a bearer token; `envmgr key create` makes one.",
        )

    def _agent(self, request: Request) -> Principal | None:
        """The agent that left its key out, if it is one. Found out once for each connection."""
        peer = request.scope.get("state", {}).get(PEER)
        if not isinstance(peer, Peer):
            return None
        if not peer.is_known:
            found = agent_behind(self._app, peer.pid)
            peer.agent, peer.is_known = found.agent if found else "", True
        return self._app.coordinator.keys.agent(peer.agent) or STRANGER if peer.agent else None

    def _owner_of(self, key: str) -> Principal:
        principal = self._app.coordinator.keys.principal(key)
        if principal is None:
            raise Unauthenticated(
                "the key is unknown, revoked or expired", hint="`envmgr key create` makes another."
            )
        return principal


def _user() -> str:
    """Our own name; a number where the system has none for us, as in containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _name(host: str) -> str:
    """Of `Host`, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _session(request: Request) -> str:
    """Which of the asker's sessions it is, if they have several and say so."""
    said = request.headers.get("x-envmgr-session", "").strip()
    return said if said.isprintable() and len(said) <= _LONGEST_SESSION else ""


def _key(request: Request) -> str | None:
    """None only if nothing is said: an empty key is a wrong one, not the absence of a key."""
    said = request.headers.get("x-api-key")
    if said is not None:
        return said.strip()
    said = request.headers.get("authorization")
    if said is None:
        return None
    scheme, _, token = said.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


@dataclass(slots=True)
class _Use:
    """Of one key: what it may still ask (`tokens`, as of `at`), and what is under way: entered with each request."""

    tokens: float
    at: float
    under_way: int = 0

    def __enter__(self) -> None:
        self.under_way += 1

    def __exit__(self, *_: object) -> None:
        self.under_way -= 1


_UNCOUNTED = nullcontext()


@dataclass(slots=True)
class Rates:
    """How much each key asks. The person at the socket is not counted."""

    policy: DoorPolicy
    clock: Callable[[], float] = time.monotonic
    _uses: dict[str, _Use] = field(default_factory=dict)

    def counted(self, principal: Principal) -> AbstractContextManager[None]:
        """One request, until the end of the block that is begun with this. Raises BudgetExhausted when it is one too many."""
        if principal.kind is PrincipalKind.PERSON:
            return _UNCOUNTED
        use = self._use(principal.id)
        self._take(use, principal.name)
        return use

    def _use(self, who: str) -> _Use:
        if who not in self._uses and len(self._uses) >= _MOST_REMEMBERED:
            for idle in [key for key, use in self._uses.items() if not use.under_way]:
                del self._uses[idle]
        return self._uses.setdefault(who, _Use(tokens=2 * self.policy.per_s, at=self.clock()))

    def _take(self, use: _Use, name: str) -> None:
        now, per_s = self.clock(), self.policy.per_s
        if use.under_way >= self.policy.at_once:
            raise _too_much(f"{name} has {use.under_way} requests under way", wait_s=1.0)
        if per_s <= 0:
            return
        use.tokens = min(2 * per_s, use.tokens + (now - use.at) * per_s)
        use.at = now
        if use.tokens < 1:
            raise _too_much(
                f"{name} asks more than {per_s:g} times a second", wait_s=(1 - use.tokens) / per_s
            )
        use.tokens -= 1


def _too_much(message: str, *, wait_s: float) -> BudgetExhausted:
    return BudgetExhausted(
        message, hint="Ask again later, and less often.", details={"retry_after_s": round(wait_s, 3)}
    )
