"""How many more agents fit, as people ask it, and the refusal that says the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.host import Host, git, host
from tests.support.requirements import proves
from tests.support.wait import eventually

_WEB = """\
envmgr: 1
name: web
limits: {memory: 200MB}
services:
  web: {command: [sleep, '600'], ports: {http: {}, admin: {}}}
agent: {kind: command, command: [sleep, '1000']}
"""


@pytest.fixture
def here() -> Iterator[Host]:
    with host(
        ENVMGR_HOST__MAX_AGENTS="3", ENVMGR_PREVENTION__PERIOD_S="0.2", ENVMGR_PORTS__BLOCK="500"
    ) as made:
        made.template("web", _WEB)
        git(made.repo, "add", "-A")
        made.ok("spawn", "-t", "web", "--name", "otter")
        yield made


@proves("PREVENT-005")
def test_capacity_tells_what_runs_out_first_and_admission_refuses_exactly_then(here: Host) -> None:
    told = here.ok("capacity", "-t", "web", "--json").json
    supplies = {one["name"]: one for one in told["supplies"]}

    assert (told["template"], told["fits"], told["first"]) == ("web", 1, "ports")
    assert supplies["agents"]["fits"] == 2
    assert (supplies["memory"]["each"], supplies["memory"]["basis"]) == (200e6, "limits of the template")
    assert supplies["memory"]["free"] > 0
    assert supplies["processors"]["is_advice"]
    assert "networks" not in supplies

    words = here.ok("capacity", "-t", "web").out
    assert words.startswith("1 more agent of web fits; ports run out first\n")
    assert "widen `ports.first`" in words

    here.ok("spawn", "-t", "web", "--name", "second")
    refused = here.run("spawn", "-t", "web", "--name", "third")
    assert refused.code != 0
    assert "0 blocks (ports) are free; this agent takes 1" in refused.err
    assert "widen `ports.first`" in refused.err
    assert here.ok("capacity", "-t", "web", "--json").json["fits"] == 0


@proves("PREVENT-005", "PREVENT-004")
def test_without_a_template_agents_like_those_that_run_are_meant(here: Host) -> None:
    told = here.ok("capacity", "--json").json

    assert told["template"] == ""
    assert {one["name"]: one["basis"] for one in told["supplies"]}["memory"] == "usual for claude_code"
    assert here.run("capacity", "-p", "a=b").code == 2


@proves("PREVENT-001")
def test_the_daemon_keeps_history_beside_its_store(here: Host) -> None:
    eventually(lambda: (here.state / "series.db").exists(), within_s=40)
