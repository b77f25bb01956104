"""What `envmgr health` prints."""

from __future__ import annotations

import textwrap

import pytest

from envmgr.app.health_text import AgentHealth, SampleView, UnitHealth, health, sparkline
from envmgr.app.text import Style
from tests.support.requirements import proves

NOW = 10_000.0
PLAIN = Style(width=22, now=lambda: NOW)
ASCII = Style(width=22, unicode=False, now=lambda: NOW)


def samples(metric: str, values: str, *, service: str = "web") -> list[SampleView]:
    """One value per 10 s up to now; `.` for none."""
    first = NOW - 10 * len(values)
    return [
        SampleView(service=service, metric=metric, at=first + 10 * at + 1, value=float(value), count=1)
        for at, value in enumerate(values)
        if value != "."
    ]


def unit(name: str = "web", **more: object) -> UnitHealth:
    plain: dict[str, object] = {
        "name": name,
        "kind": "process",
        "state": "ready",
        "since": NOW - 90,
        "probes": ["ready"],
        "looks": 10,
        "ready_rate": 1.0,
        "live_rate": None,
        "latency_p50_s": 0.004,
        "latency_p95_s": 1.25,
        "restarts": 0,
    }
    return UnitHealth.model_validate(plain | more)


def page(*units: UnitHealth, series: list[SampleView], suspended: str = "") -> AgentHealth:
    return AgentHealth(
        agent="otter", at=NOW, since_at=NOW - 100, suspended=suspended, services=list(units), series=series
    )


@proves("PROBE-009")
def test_a_service_is_a_line_of_numbers_and_lines_of_bars() -> None:
    shown = page(
        unit(looks=9, ready_rate=7 / 9, live_rate=0.9999, restarts=1),
        series=[
            *samples("probe.ready", "11.1100111"),
            *samples("probe.live", "1111111111"),
            *samples("probe.latency_s", "12345678.8"),
        ],
    )
    assert health(shown, PLAIN) == textwrap.dedent(
        """\
        web  ● ready for 1m
          ready 77.8 % of 9 looks, live 99.9 %, p50 4.0 ms, p95 1.2 s, 1 restart
          ready    ██ ██▁▁███
          live     ██████████
          latency  ▁▂▃▄▅▆▇█ █
        """
    )


@proves("PROBE-009")
def test_a_terminal_without_such_letters_gets_plain_ones() -> None:
    shown = page(unit(state="failed", detail="no answer", since=None), series=samples("probe.ready", "1100"))
    assert health(shown, ASCII) == textwrap.dedent(
        """\
        web  * failed (no answer)
          ready 100 % of 10 looks, p50 4.0 ms, p95 1.2 s
          ready          ##__
        """
    )


@proves("PROBE-009")
def test_what_was_not_seen_is_said() -> None:
    blank = {"ready_rate": None, "latency_p50_s": None, "latency_p95_s": None, "since": None}
    shown = page(
        unit("db", state="unknown", **blank),
        unit("plain", probes=[], **blank),
        series=[],
        suspended="the machine is overloaded: its load is 9.0",
    )
    assert health(shown, PLAIN) == textwrap.dedent(
        """\
        probes are suspended: the machine is overloaded: its load is 9.0
        db  ? unknown
          nothing seen in this time
        plain  ● ready
          no probe: it is ready while it runs
        """
    )
    assert health(page(series=[]), PLAIN) == "otter has no services\n"


@proves("PROBE-009")
@pytest.mark.parametrize(
    ("values", "width", "line"),
    [
        ("1111", 4, "████"),
        ("1010", 2, "▄▄"),
        ("0000", 4, "▁▁▁▁"),
        ("....", 4, ""),
        ("1..1", 4, "█  █"),
        ("1", 3, "█"),
    ],
)
def test_a_bar_is_the_mean_of_its_part_of_the_time(values: str, width: int, line: str) -> None:
    span = (NOW - 10 * len(values), NOW)
    assert sparkline(samples("probe.ready", values), span, width, PLAIN, top=1.0) == line


@proves("PROBE-009")
@pytest.mark.parametrize(
    ("words", "style"),
    [
        ("80;colour;", (80, True, True)),
        ("80;;ascii", (80, False, False)),
        ("1000;;", (1000, False, True)),
        ("", (100, False, True)),
        ("80;colour", (80, True, True)),
    ],
)
def test_a_command_line_tells_what_its_terminal_is(words: str, style: tuple[int, bool, bool]) -> None:
    found = Style.of(words)
    assert (found.width, found.colour, found.unicode) == style
