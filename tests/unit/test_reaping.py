"""Verdicts on things: any doubt leaves them alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from envmgr.core.reaping import Policy, again, due, in_order, judge, leaked, named, sparing
from envmgr.model.ids import AgentId
from envmgr.model.resource import Judged, Kind, Owner, Records, Sighting, Standing, Verdict
from tests.support.requirements import proves

_MINE, _OTHERS = "11111111", "22222222"
_POLICY = Policy(young_s=300.0, grace_s=60.0, at_most=2)
_THING = Sighting(
    kind=Kind.CONTAINER, key="c1", name="web", instance=_MINE, agent="gone0000", generation=1, age_s=900.0
)
_PROCESS = replace(_THING, kind=Kind.PROCESS, key="7@1", name="7 node server.js", generation=None)


def records(*owners: Owner, past: tuple[str, ...] = ()) -> Records:
    return Records(instance=_MINE, owners={one.id: one for one in owners}, past=frozenset(past))


def owner(standing: Standing, *, generation: int = 3) -> Owner:
    return Owner(id=AgentId("0tter000"), name="otter", standing=standing, generation=generation)


def verdict(seen: Sighting, known: Records | None = None) -> Verdict:
    return judge(seen, known or records(), _POLICY).verdict


# --- whose it is ------------------------------------------------------------------------------------------------


@proves("REAP-001")
def test_what_a_removed_agent_left_is_an_orphan() -> None:
    judged = judge(_THING, records(), _POLICY)

    assert judged.verdict is Verdict.ORPHAN
    assert judged.is_removable
    assert "gone0000" in judged.reason


@proves("REAP-002")
def test_things_of_another_installation_and_of_nobody_known_are_foreign() -> None:
    assert verdict(replace(_THING, instance=_OTHERS)) is Verdict.FOREIGN
    assert verdict(replace(_THING, instance="", agent="")) is Verdict.FOREIGN
    assert verdict(replace(_THING, instance="")) is Verdict.FOREIGN


@proves("REAP-002")
def test_the_id_of_an_agent_that_was_ours_is_a_tag_of_ours() -> None:
    assert verdict(replace(_THING, instance=""), records(past=("gone0000",))) is Verdict.ORPHAN


@proves("REAP-001")
@pytest.mark.parametrize(
    ("standing", "generation", "expected"),
    [
        (Standing.UP, 3, Verdict.TRACKED),
        (Standing.UP, None, Verdict.TRACKED),
        (Standing.UP, 2, Verdict.ORPHAN),
        (Standing.UP, 4, Verdict.TRACKED),
        (Standing.DOWN, 3, Verdict.ORPHAN),
        (Standing.BUSY, 1, Verdict.TRACKED),
    ],
)
def test_an_agent_keeps_what_is_of_its_present_generation_while_it_is_up(
    standing: Standing, generation: int | None, expected: Verdict
) -> None:
    seen = replace(_THING, agent="0tter000", generation=generation)
    assert verdict(seen, records(owner(standing))) is expected


@proves("REAP-001")
def test_what_outlives_generations_stays_as_long_as_its_agent_is_known() -> None:
    worktree = replace(_THING, kind=Kind.WORKTREE, agent="0tter000", generation=None, outlives=True)

    assert verdict(worktree, records(owner(Standing.DOWN))) is Verdict.TRACKED
    assert verdict(worktree, records()) is Verdict.ORPHAN


# --- what is left alone -----------------------------------------------------------------------------------------


@proves("REAP-003")
def test_young_things_are_left_alone() -> None:
    assert verdict(replace(_THING, age_s=299.0)) is Verdict.YOUNG
    assert verdict(replace(_THING, age_s=301.0)) is Verdict.ORPHAN


@proves("REAP-004")
def test_what_cannot_be_told_is_unknown_and_not_removable() -> None:
    judged = judge(replace(_THING, unsure="the engine is silent"), records(), _POLICY)

    assert judged.verdict is Verdict.UNKNOWN
    assert not judged.is_removable
    assert not leaked([judged])


@proves("REAP-005")
def test_what_its_maker_keeps_is_tracked() -> None:
    assert verdict(replace(_THING, belongs="envmgr.keep=true")) is Verdict.TRACKED


@proves("REAP-006")
def test_what_holds_work_or_data_is_leaked_and_never_removed_by_itself() -> None:
    judged = judge(replace(_THING, holds="2 changed files"), records(), _POLICY)

    assert judged.verdict is Verdict.ORPHAN
    assert judged.is_quarantined
    assert not judged.is_removable
    assert "2 changed files" in judged.reason
    assert leaked([judged]) == [judged]


@proves("REAP-007")
def test_a_marker_alone_never_kills() -> None:
    assert verdict(_PROCESS) is Verdict.UNKNOWN
    assert verdict(replace(_PROCESS, proof="it works in the agent's worktree")) is Verdict.ORPHAN


@proves("REAP-007")
@pytest.mark.parametrize(
    "command",
    [
        "java -cp gradle.jar org.gradle.launcher.daemon.bootstrap.GradleDaemon 8.7",
        "/usr/bin/watchman --foreground",
        "node /w/node_modules/nx/src/daemon/server/start.js",
    ],
)
def test_daemons_that_serve_everybody_are_left_alone_even_where_they_work_for_one(command: str) -> None:
    seen = replace(_PROCESS, name=f"7 {command}", proof="it works in the agent's worktree")
    assert verdict(seen) is Verdict.FOREIGN


@proves("REAP-007")
def test_settings_and_templates_name_more_of_them() -> None:
    seen = replace(_PROCESS, name="7 /opt/Our-Cache serve", proof="it works in the agent's worktree")

    assert judge(seen, records(), _POLICY).is_removable
    assert not judge(seen, records(), sparing(_POLICY, ["*our-cache*"])).is_removable


# --- when it goes -----------------------------------------------------------------------------------------------


def orphan(key: str, kind: Kind = Kind.CONTAINER) -> Judged:
    return judge(replace(_THING, key=key, kind=kind, proof="it works there"), records(), _POLICY)


@proves("REAP-008")
def test_only_what_was_an_orphan_a_grace_ago_is_due() -> None:
    one = orphan("c1")
    first = again([one], {}, now=100.0)

    assert due([one], {}, now=100.0, policy=_POLICY) == []
    assert due([one], first, now=159.0, policy=_POLICY) == []
    assert due([one], first, now=160.0, policy=_POLICY) == [one]


@proves("REAP-008")
def test_what_was_somebodys_in_between_begins_anew() -> None:
    one = orphan("c1")
    first = again([one], {}, now=100.0)
    tracked = judge(replace(_THING, belongs="copying"), records(), _POLICY)

    assert again([tracked], first, now=150.0) == {}


@proves("REAP-009")
def test_a_pass_removes_in_order_and_at_most_so_many() -> None:
    found = [orphan("w", Kind.WORKTREE), orphan("n", Kind.NETWORK), orphan("p", Kind.PROCESS)]
    first = again(found, {}, now=0.0)

    assert [one.sighting.key for one in due(found, first, now=99.0, policy=_POLICY)] == ["p", "n"]
    assert [one.sighting.key for one in in_order(found)] == ["p", "n", "w"]


@proves("REAP-010")
def test_names_of_things_and_of_agents_choose() -> None:
    found = [judge(replace(_PROCESS, proof="x"), records(), _POLICY), orphan("c2")]

    assert [one.sighting.key for one in named(found, ["7"])] == ["7@1"]
    assert [one.sighting.key for one in named(found, ["web"])] == ["c2"]
    assert named(found, ["gone0000"]) == found
    assert named(found, ["other"]) == []
    assert named(found, []) == found
