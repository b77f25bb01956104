"""envmgr itself on this host."""

from __future__ import annotations

from pydantic import Field

from envmgr.app.shapes import View
from envmgr.app.views.agents import SharedView


class Done(View):
    """It is done."""

    message: str


class Noted(Done):
    """A hook was heard. `say` is what it is to print."""

    say: str = ""


class DaemonView(View):
    """The daemon."""

    running: bool
    pid: int | None = None
    version: str = ""
    state_dir: str = ""
    socket: str = ""
    started_at: float = 0.0
    agents: int = 0
    troubles: list[str] = []
    shared: list[SharedView] = []
    code: str = Field(default="", description="Fingerprint of the files that it was started from")
    engine: str = Field(
        default="", description="Address of its container engine, and who says so; empty for none"
    )
    engine_trouble: str = Field(default="", description="Why that one cannot be used; empty when it can")
    pressure: str = Field(default="", description="Which disk is too full; empty when none is")


class VersionView(View):
    """Versions of envmgr and of what it stands on."""

    envmgr: str
    python: str
    git: str
    tmux: str


class CheckView(View):
    """One finding of the doctor."""

    check: str
    ok: bool
    found: str
    fix: str = ""


class DoctorView(View):
    """What is right and what is not, each with a fix."""

    ok: bool
    checks: list[CheckView]
