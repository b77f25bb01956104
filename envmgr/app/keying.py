"""Operations on keys of programs; agents get theirs at their start."""

from __future__ import annotations

from pydantic import Field

from envmgr.app import spans, text
from envmgr.app.context import App
from envmgr.app.moments import moment
from envmgr.app.operations import Touch, operation
from envmgr.app.shapes import Ask, View, argument, option
from envmgr.errors import UsageError
from envmgr.model.principal import Scope
from envmgr.protocols.keys import Key
from envmgr.services import calls
from envmgr.services.revoking import leave

_ALL = ", ".join(Scope)


class KeyCreate(Ask):
    """Whose key, and what it is good for."""

    name: str = argument("What to call the program", min_length=1, max_length=100, pattern=r"^[\w.@/:-]+$")
    scopes: str = option(f"With commas between them: {_ALL}; * for all", default="read", max_length=200)
    expires: str = option(
        "Good for so long, such as 12h or 30d; without it until it is revoked", default="", max_length=40
    )


class KeyList(Ask):
    """Which keys."""

    all: bool = option("Also those that are good no longer", default=False)


class KeyRevoke(Ask):
    """Which key."""

    key: str = argument("Its id, or the name of its program", min_length=1, max_length=100)


class KeyView(View):
    """What is known of a key. The key itself is not."""

    id: str
    kind: str = Field(description="agent or program")
    name: str
    agent: str = Field(description="The agent's id; empty for a program")
    scopes: list[str]
    created_at: str
    expires_at: str = Field(description="Empty: never")
    revoked_at: str = Field(description="Empty: it is good")
    used_at: str = Field(description="When it was used last, to the minute; empty: never")


class NewKey(View):
    """A key that was just made."""

    key: str = Field(description="Shown now and never again")
    id: str
    name: str
    scopes: list[str]
    expires_at: str


class Keys(View):
    """Keys, oldest first."""

    keys: list[KeyView]


def _view(key: Key) -> KeyView:
    return KeyView(
        id=key.id,
        kind=key.kind.value,
        name=key.name,
        agent=key.agent,
        scopes=list(key.scopes),
        created_at=_moment(key.created_at),
        expires_at=_moment(key.expires_at),
        revoked_at=_moment(key.revoked_at),
        used_at=_moment(key.used_at),
    )


def _moment(at: float) -> str:
    return moment(at) if at else ""


def _new_text(result: NewKey, style: text.Style) -> str:
    until = f", good until {result.expires_at}" if result.expires_at else ""
    return f"{result.key}\n\nkey {result.id} of {result.name}, for {', '.join(result.scopes)}{until}; it is not shown again\n"


def _list_text(result: Keys, style: text.Style) -> str:
    if not result.keys:
        return "no keys\n"
    rows = [
        [one.id, one.name, one.kind, one.used_at[:16] or "never", _state(one), ",".join(one.scopes)]
        for one in result.keys
    ]
    return text.table(["ID", "NAME", "KIND", "USED", "GOOD UNTIL", "SCOPES"], rows, style)


def _state(key: KeyView) -> str:
    return f"revoked {key.revoked_at[:16]}" if key.revoked_at else key.expires_at[:16] or "it is revoked"


@operation(
    "key.create",
    route="POST /api/v1/keys",
    gives=NewKey,
    text=_new_text,
    touch=Touch.WRITE,
    command="key create",
    scope=Scope.ADMIN,
)
async def create(ask: KeyCreate, app: App) -> NewKey:
    """Make a key for a program that asks over HTTP or MCP; it is shown once.

    Whoever has it acts under the name, as far as the scopes go. It stands in the audit trail with all that it does.
    """
    lasts_s = spans.seconds(ask.expires) if ask.expires else None
    if lasts_s == 0:
        raise UsageError("a key must be good for some time", hint="Say 12h, 30d, or nothing.")
    issued = await app.coordinator.keys.create(
        ask.name,
        scopes={scope.strip() for scope in ask.scopes.split(",") if scope.strip()},
        lasts_s=lasts_s,
        by=calls.principal(),
    )
    key = issued.key
    return NewKey(
        key=issued.clear,
        id=key.id,
        name=key.name,
        scopes=list(key.scopes),
        expires_at=_moment(key.expires_at),
    )


@operation(
    "key.list", route="GET /api/v1/keys", gives=Keys, text=_list_text, command="key list", scope=Scope.ADMIN
)
async def list_keys(ask: KeyList, app: App) -> Keys:
    """List keys of agents and programs, and when they were used last."""
    return Keys(keys=[_view(key) for key in await app.coordinator.keys.known(is_all=ask.all)])


@operation(
    "key.revoke",
    route="POST /api/v1/keys/{key}/revoke",
    gives=KeyView,
    text=lambda result, style: f"key {result.id} of {result.name} is good for nothing from now on\n",
    touch=Touch.WRITE,
    command="key revoke",
    scope=Scope.ADMIN,
)
async def revoke(ask: KeyRevoke, app: App) -> KeyView:
    """Make a key worthless, at once; sessions, tasks and locks of its program end with it."""
    key = await app.coordinator.keys.revoke(ask.key)
    await leave(app.coordinator.sessions, key.agent or f"{key.kind}:{key.name}", "its key was revoked")
    return _view(key)
