"""How to tell how a service is: one look at it, and when to look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProbe:
    """GET an address; well when the status is accepted (and the body matches).

    Attributes:
        port: Name of one of the service's ports, or a number as text (external services).
        status: Accepted status codes; empty means 200-399.
        body: Regular expression searched in the first 64 KiB of the body.
    """

    port: str
    path: str = "/"
    host: str = "127.0.0.1"
    scheme: str = "http"
    headers: Mapping[str, str] = field(default_factory=dict)
    status: tuple[int, ...] = ()
    body: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpProbe:
    """Connect to a port."""

    port: str
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecProbe:
    """Run a command in the service's environment; well when it exits with 0.

    Attributes:
        inside: Run it in the service's container instead of on the host.
    """

    command: str | tuple[str, ...]
    inside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogProbe:
    """Wait for a line of this launch's output that matches a regular expression."""

    pattern: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHealth:
    """What the image's own HEALTHCHECK says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyProbe:
    """Wait until the process sends `READY=1` to the socket in `NOTIFY_SOCKET` (sd_notify(3))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessProbe:
    """Processes of this launch live.

    Attributes:
        pattern: Regular expression searched in their command lines; empty counts them all.
        count: How many at least.
    """

    pattern: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceProbe:
    """All processes of this launch together use no more than this; None sets no bound.

    Attributes:
        cpus: Processors, as a mean since the look before; the first look of a launch has none and passes.
        open_files: File descriptors of the process that has most of them.
    """

    memory_bytes: int | None = None
    cpus: float | None = None
    open_files: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyOf:
    """Well when one says so."""

    probes: tuple[Probe, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AllOf:
    """Well when all say so."""

    probes: tuple[Probe, ...]


Probe = (
    HttpProbe
    | TcpProbe
    | ExecProbe
    | LogProbe
    | ImageHealth
    | NotifyProbe
    | ProcessProbe
    | ResourceProbe
    | AnyOf
    | AllOf
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Startup:
    """How to tell that a service has started; neither readiness nor liveness is looked at before.

    Attributes:
        period_s: Seconds between attempts.
        up: Successes in a row.
        initial_s: Seconds after launch before the first attempt.
        deadline_s: Seconds after launch until the start has failed.
        owner: Whether a listener of another process fails the probe (http and tcp).
    """

    probe: Probe
    period_s: float = 0.5
    timeout_s: float = 2.0
    up: int = 1
    initial_s: float = 0.0
    deadline_s: float = 60.0
    owner: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """How to tell that a service is ready.

    Attributes:
        probe: What to look at.
        period_s: Seconds between attempts once ready; before that attempts come faster.
        timeout_s: Seconds one attempt may take.
        up: Successes in a row until ready.
        down: Failures in a row until a ready service counts as lost.
        initial_s: Seconds after launch before the first attempt.
        deadline_s: Seconds after launch until the start has failed; after the startup probe's success, if there is one.
        owner: Whether a listener of another process fails the probe (http and tcp).
    """

    probe: Probe
    period_s: float = 10.0
    timeout_s: float = 2.0
    up: int = 1
    down: int = 3
    initial_s: float = 0.0
    deadline_s: float = 60.0
    owner: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """How to tell that a service that lives has not stopped working.

    Attributes:
        down: Failures in a row until it counts as hanging.
        grace_s: Seconds after it was first ready before the first attempt of a launch.
        owner: Whether a listener of another process fails the probe (http and tcp).
    """

    probe: Probe
    period_s: float = 15.0
    timeout_s: float = 5.0
    down: int = 4
    grace_s: float = 30.0
    owner: bool = True
