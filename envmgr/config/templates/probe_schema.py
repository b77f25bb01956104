"""What a template may say about probes. The names are the keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from envmgr.config.fields import Command, Count, Duration, Flag, Regex, Size, Strict
from envmgr.config.merging import PROBES


class HttpCheck(Strict):
    """A GET request. A bare text means `path`."""

    port: str | None = None
    """Name of a port of this service (may be left out if there is one), or a number for external services."""
    path: str = "/"
    """Path and query."""
    host: str = "127.0.0.1"
    """Address to connect to."""
    scheme: Literal["http", "https"] = "http"
    """`http` or `https` (certificates are not checked)."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Request headers."""
    status: tuple[Annotated[int, Field(ge=100, le=599)], ...] = ()
    """Accepted status codes; without it 200 to 399."""
    body: Regex | None = None
    """Regular expression that the first 64 KiB of the body must contain."""


class TcpCheck(Strict):
    """A connection that is accepted. A bare text means `port`."""

    port: str | None = None
    """Name of a port of this service (may be left out if there is one), or a number for external services."""
    host: str = "127.0.0.1"
    """Address to connect to."""


class ProcessCheck(Strict):
    """Processes of the service that live. A bare text means `match`."""

    match: Regex | None = None
    """Regular expression that a command line must contain to count; without it all count."""
    count: Annotated[Count, Field(ge=1)] = 1
    """How many there must be at least."""


class ResourceCheck(Strict):
    """Bounds for all processes of the service together; using more fails the check."""

    memory: Annotated[Size, Field(ge=1_000_000)] | None = None
    """Memory; what they share counts once."""
    cpus: Annotated[float, Field(gt=0, le=1024)] | None = None
    """Processors, such as 1.5, as a mean since the look before."""
    files: Annotated[Count, Field(ge=1)] | None = None
    """Open files of the process that has most of them."""

    @model_validator(mode="after")
    def _some(self) -> ResourceCheck:
        if (self.memory, self.cpus, self.files) == (None, None, None):
            raise ValueError("needs 'memory', 'cpus' or 'files'")
        return self


def _process(value: object) -> object:
    return {"match": value} if isinstance(value, str) else value


def _http(value: object) -> object:
    return {"path" if value.startswith("/") else "port": value} if isinstance(value, str) else value


def _tcp(value: object) -> object:
    return {"port": str(value)} if isinstance(value, str | int) else value


class Check(Strict):
    """One way to tell that a service is well."""

    http: Annotated[HttpCheck, BeforeValidator(_http, json_schema_input_type=HttpCheck | str)] | None = None
    """An HTTP request is answered."""
    tcp: Annotated[TcpCheck, BeforeValidator(_tcp, json_schema_input_type=TcpCheck | str | int)] | None = None
    """A connection is accepted."""
    exec: Command | None = None
    """A command, run in the service's environment, ends with 0."""
    inside: Flag = False
    """Run `exec` in the service's container instead of on this machine."""
    log: Regex | None = None
    """A line of the output of this launch matches the regular expression."""
    health: Flag = False
    """The image's own HEALTHCHECK says so."""
    notify: Flag = False
    """The process sends `READY=1` to the socket named by `NOTIFY_SOCKET`, as services of systemd do."""
    process: (
        Annotated[ProcessCheck, BeforeValidator(_process, json_schema_input_type=ProcessCheck | str)] | None
    ) = None
    """Enough of its processes live, such as the workers of a server."""
    resource: ResourceCheck | None = None
    """Its processes use no more than this."""
    any: tuple[Check, ...] = ()
    """One of these says so."""
    all: tuple[Check, ...] = ()
    """All of these say so."""

    @model_validator(mode="after")
    def _one(self) -> Check:
        given = [kind for kind in PROBES if getattr(self, kind)]
        if len(given) != 1:
            what = f"has {' and '.join(given)}" if given else "has none"
            raise ValueError(f"needs exactly one of {', '.join(PROBES)}; it {what}")
        if self.inside and not self.exec:
            raise ValueError("'inside' goes with 'exec'")
        return self


class Timing(Strict):
    """When and how often readiness is looked at."""

    period: Annotated[Duration, Field(ge=0.05)] = 10.0
    """Time between attempts once ready; until then attempts come faster."""
    timeout: Annotated[Duration, Field(ge=0.01)] = 2.0
    """Time one attempt may take."""
    up: Annotated[Count, Field(ge=1)] = 1
    """Successes in a row until ready."""
    down: Annotated[Count, Field(ge=1)] = 3
    """Failures in a row until a ready service counts as lost."""
    initial: Duration = 0.0
    """Time after launch before the first attempt."""
    deadline: Annotated[Duration, Field(ge=0.01)] | None = None
    """Time after launch until the start has failed; without it 60s, for a container 120s."""
    owner: Flag = True
    """A listener that belongs to another process fails the probe."""


class StartupTiming(Strict):
    """When and how often a start is looked at."""

    period: Annotated[Duration, Field(ge=0.05)] = 0.5
    """Time between attempts; the first ones come faster."""
    timeout: Annotated[Duration, Field(ge=0.01)] = 2.0
    """Time one attempt may take."""
    up: Annotated[Count, Field(ge=1)] = 1
    """Successes in a row until it has started."""
    initial: Duration = 0.0
    """Time after launch before the first attempt."""
    deadline: Annotated[Duration, Field(ge=0.01)] | None = None
    """Time after launch until the start has failed; without it 60s, for a container 120s."""
    owner: Flag = True
    """A listener that belongs to another process fails the probe."""


class LiveTiming(Strict):
    """When and how often liveness is looked at."""

    period: Annotated[Duration, Field(ge=0.05)] = 15.0
    """Time between attempts."""
    timeout: Annotated[Duration, Field(ge=0.01)] = 5.0
    """Time one attempt may take."""
    down: Annotated[Count, Field(ge=1)] = 4
    """Failures in a row until it counts as hanging."""
    grace: Duration = 30.0
    """Time after it was first ready until the first attempt."""
    owner: Flag = True
    """A listener that belongs to another process fails the probe."""


class Startup(Check, StartupTiming):
    """How to tell that a service has started: exactly one kind of check, and its timing."""


class Live(Check, LiveTiming):
    """How to tell that a service still works: exactly one kind of check, and its timing."""


class Ready(Check, Timing):
    """How to tell that a service is ready: exactly one kind of check, and its timing."""
