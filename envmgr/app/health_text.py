"""What `envmgr health` gives, and how people read it."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from envmgr.app.shapes import View
from envmgr.app.text import Style, clean
from envmgr.core.counting import counted

_LINES = 60
_BARS, _PLAIN_BARS = "▁▂▃▄▅▆▇█", "_.-=+*%#"
_GLYPHS = {"ready": ("●", "green"), "failed": ("✖", "red"), "unknown": ("?", "amber")}


class SampleView(View):
    """One thing that was measured."""

    service: str
    metric: str = Field(description="`probe.ready` and `probe.live` (1 or 0), `probe.latency_s`, `restarts`")
    at: float = Field(description="Unix time")
    value: float
    count: int = Field(description="How many measured values this is the mean of: 1 for raw ones")


class UnitHealth(View):
    """One service, or one instance of it."""

    name: str
    kind: str
    state: str
    detail: str = ""
    since: float | None = Field(
        description="Unix time at which it came to be so; null when that is not known"
    )
    probes: list[str] = Field(description="Which it has: startup, ready, live")
    looks: int = Field(description="How often its readiness was looked at")
    ready_rate: float | None = Field(description="Part of the looks that found it ready, 0 to 1")
    live_rate: float | None = Field(description="Part of the looks at its liveness that it answered, 0 to 1")
    latency_p50_s: float | None
    latency_p95_s: float | None
    restarts: int = Field(description="By its restart policy")


class AgentHealth(View):
    """Services of an agent as their probes saw them."""

    agent: str
    at: float = Field(description="Unix time of the answer")
    since_at: float = Field(description="Unix time from which on it tells")
    suspended: str = Field(description="Why missed answers are not counted just now; empty when they are")
    services: list[UnitHealth]
    series: list[SampleView]


def health(result: AgentHealth, style: Style) -> str:
    """A block per service; lines of what was seen over the time, oldest at the left."""
    blocks = [_block(unit, result, style) for unit in result.services]
    notes = [style.paint(f"probes are suspended: {result.suspended}", "amber")] if result.suspended else []
    if not blocks:
        notes.append(f"{clean(result.agent)} has no services")
    return "\n".join([*notes, *blocks]) + "\n"


def _block(unit: UnitHealth, result: AgentHealth, style: Style) -> str:
    glyph, colour = _GLYPHS.get(unit.state, ("○", "muted"))
    since = f" for {style.age(unit.since)}" if unit.since is not None else ""
    detail = f" ({clean(unit.detail)})" if unit.detail else ""
    state = style.paint(f"{glyph if style.unicode else '*'} {unit.state}{since}", colour)
    lines = [f"{unit.name}  {state}{detail}", *_numbers(unit)]
    width = max(10, min(_LINES, style.width - 12))
    for word, metric in (("ready", "probe.ready"), ("live", "probe.live"), ("latency", "probe.latency_s")):
        seen = [one for one in result.series if one.service == unit.name and one.metric == metric]
        if seen:
            top = 1.0 if word != "latency" else None
            line = sparkline(seen, (result.since_at, result.at), width, style, top=top)
            lines.append(f"  {word:<8} {line}")
    return "\n".join(lines)


def _numbers(unit: UnitHealth) -> list[str]:
    parts = []
    if unit.ready_rate is not None:
        parts.append(f"ready {_percent(unit.ready_rate)} of {counted(unit.looks, 'look')}")
    if unit.live_rate is not None:
        parts.append(f"live {_percent(unit.live_rate)}")
    if unit.latency_p50_s is not None and unit.latency_p95_s is not None:
        parts.append(f"p50 {_ms(unit.latency_p50_s)}, p95 {_ms(unit.latency_p95_s)}")
    if unit.restarts:
        parts.append(counted(unit.restarts, "restart"))
    if not parts:
        parts.append("nothing seen in this time" if unit.probes else "no probe: it is ready while it runs")
    return [f"  {', '.join(parts)}"]


def _percent(part: float) -> str:
    """Never 100 % of what was not all well."""
    return "100 %" if part == 1 else f"{min(part * 100, 99.9):.1f} %"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def sparkline(
    seen: Sequence[SampleView], span: tuple[float, float], width: int, style: Style, *, top: float | None
) -> str:
    """Means over equal parts of the time; a blank where nothing was seen.

    Args:
        top: What the highest bar stands for; None: the largest mean.
    """
    begin, end = span
    sums: dict[int, tuple[float, int]] = {}
    for one in seen:
        at = min(width - 1, max(0, int((one.at - begin) / max(end - begin, 1e-9) * width)))
        total, count = sums.get(at, (0.0, 0))
        sums[at] = (total + one.value * one.count, count + one.count)
    means = {at: total / count for at, (total, count) in sums.items()}
    high = top or max(means.values(), default=0.0) or 1.0
    bars = _BARS if style.unicode else _PLAIN_BARS
    return "".join(_bar(means.get(at), high, bars) for at in range(width)).rstrip()


def _bar(value: float | None, high: float, bars: str) -> str:
    return " " if value is None else bars[min(len(bars) - 1, int(value / high * (len(bars) - 1)))]
