"""The machine restarts, and two installations share it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.chaos.trial import Trial
from tests.support.host import git, host
from tests.support.leftovers import exists, leftovers
from tests.support.reboots import reboot
from tests.support.requirements import proves
from tests.support.survive import agent_when, daemon_is_gone, processes_of, sessions
from tests.support.wait import eventually

Begin = Callable[..., AbstractContextManager[Trial]]


@proves("FAULT-005", "R-31")
def test_after_a_restart_of_the_machine_agents_come_back(begin_trial: Begin) -> None:
    with begin_trial("restart of the machine") as here:
        port = here.agent["services"][0]["ports"]["http"]
        reboot(here.host)
        here.struck()

        here.well_again(
            lambda agent: agent["generation"] == 2 and agent["services"][0]["ports"].get("http") == port,
            outcome="restored from worktree and records, with its port",
            within_s=60,
        )
        here.lost = "what assistant and services had in memory"


@proves("FAULT-005", "R-33")
@pytest.mark.timeout(240)
def test_two_installations_on_one_repository_leave_each_other_alone(begin_trial: Begin) -> None:
    with (
        begin_trial("two daemons of two installations on one repository") as here,
        host(**here.host.env) as own,
    ):
        other = Trial(host=own, agent=None, bystander=frozenset())
        own.repo = here.host.repo
        own.ok("spawn", "-t", "world", "--name", "b")
        other.agent = agent_when(own, "b", lambda agent: agent["services"][0]["state"] == "ready")
        both = (here, other)
        pids = [{p.pid for p in processes_of(one.host, one.agent)} for one in both]
        with leftovers(here.host) as mine, leftovers(own) as theirs:
            first, second = mine.network(mine.labels()), theirs.network(theirs.labels())
            here.struck()
            for one, gone, kept in ((here, first, second), (other, second, first)):
                found = one.host.run("audit-resources", "--all", "--json").json["things"]
                verdicts = {thing["name"]: thing["verdict"] for thing in found}
                assert (verdicts[gone], verdicts.get(kept)) in (("orphan", "foreign"), ("orphan", None))
                one.host.ok("reap", "--yes")
                assert not exists("network", gone)
        here.well_again(outcome="each reaps its own leftovers only")
        assert [{p.pid for p in processes_of(one.host, one.agent)} for one in both] == pids
        assert len(sessions(here.host)) == len(sessions(own)) == 1
        own.ok("rm", "b", "--stop", "--yes", "--discard", "b")
        assert "agent/a" in git(here.host.repo, "branch", "--format=%(refname:short)")
        own.ok("daemon", "stop")
        eventually(lambda: daemon_is_gone(own))
