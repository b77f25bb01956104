"""Whether envmgr lives and may be sent work: for load balancers, process managers and scripts, without a key."""

from __future__ import annotations

import time

from pydantic import Field

from envmgr.app import text
from envmgr.app.context import App
from envmgr.app.operations import operation
from envmgr.app.shapes import Ask, View
from envmgr.errors import EnvmgrError, Unavailable

_PROOF_S = 1.0
_KEY = "health.proof"


class Nothing(Ask):
    """Takes nothing."""


class LiveView(View):
    """It lives: it has answered."""

    ok: bool = True
    status: str = "ok"


class PartView(View):
    """One thing that envmgr stands on."""

    part: str
    ok: bool
    found: str = Field(default="", description="What is wrong; empty when nothing is")


class HealthView(View):
    """How envmgr itself is. Says nothing of agents."""

    ok: bool
    status: str = Field(description="`ok`, or `degraded`: some part is not well")
    version: str
    parts: list[PartView]


def _live_text(result: LiveView, style: text.Style) -> str:
    return f"{result.status}\n"


def _health_text(result: HealthView, style: text.Style) -> str:
    rows = [f"  {part.part}: {'ok' if part.ok else part.found}\n" for part in result.parts]
    return f"envmgr {result.version}: {result.status}\n{''.join(rows)}"


@operation(
    "host.live", route="GET /api/v1/live", gives=LiveView, text=_live_text, command="daemon live", is_open=True
)  # fmt: skip
async def live(ask: Nothing, app: App) -> LiveView:
    """Tell that the daemon answers; if it does not for long, restart it: agents go on."""
    return LiveView()


@operation(
    "host.ready", route="GET /api/v1/ready", gives=LiveView, text=_live_text, command="daemon ready", is_open=True
)  # fmt: skip
async def ready(ask: Nothing, app: App) -> LiveView:
    """Tell that work may be sent: agents are adopted and the store takes changes; else it is unavailable, with the reason."""
    if trouble := await _store(app):
        raise Unavailable(trouble, hint="See `envmgr doctor`.")
    return LiveView()


@operation(
    "host.health", route="GET /api/v1/health", gives=HealthView, text=_health_text, command="daemon health", is_open=True,
)  # fmt: skip
async def health(ask: Nothing, app: App) -> HealthView:
    """Show how envmgr itself is, part by part."""
    found = {
        "store": await _store(app),
        "agents": "" if app.supervisor is not None else "they are being adopted",
        "coordination": "" if app.coordination is not None else "it does not run yet",
        "http": "" if not app.door.listen or app.is_on_tcp else f"cannot listen on {app.door.listen}",
    }
    parts = [PartView(part=part, ok=not trouble, found=trouble) for part, trouble in found.items()]
    is_well = all(part.ok for part in parts)
    return HealthView(ok=is_well, status="ok" if is_well else "degraded", version=app.version, parts=parts)


async def _store(app: App) -> str:
    """Why the store takes no changes; empty when it does. Seen at most once a second: whoever asks has no key."""
    if app.supervisor is None:
        return "agents are being adopted"
    now = time.monotonic()
    if now - app.proved_at < _PROOF_S:
        return ""
    try:
        await app.agents.systems.store.write(lambda tx: tx.put(_KEY, f"{app.agents.systems.now():.0f}"))
    except EnvmgrError as error:
        return error.message
    app.proved_at = now
    return ""
