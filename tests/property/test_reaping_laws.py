"""Whatever is seen and recorded: what may be removed is ours, proven, old, and of nobody."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from envmgr.core.reaping import Policy, again, due, judge
from envmgr.model.ids import AgentId
from envmgr.model.resource import Kind, Owner, Records, Sighting, Standing
from tests.support.requirements import proves

_POLICY = Policy(young_s=300.0, grace_s=60.0)
_agents = st.sampled_from(["", "otter000", "beaver00", "gone0000"])
_words = st.sampled_from(["", "something"])

sightings = st.builds(
    Sighting,
    kind=st.sampled_from(Kind),
    key=st.just("k"),
    name=st.sampled_from(["7 sleep", "7 watchman"]),
    instance=st.sampled_from(["", "mine", "theirs"]),
    agent=_agents,
    generation=st.none() | st.integers(0, 4),
    age_s=st.none() | st.floats(0, 1000),
    outlives=st.booleans(),
    proof=_words,
    belongs=_words,
    unsure=_words,
    holds=_words,
)
owners = st.builds(
    Owner,
    id=st.sampled_from([AgentId("otter000"), AgentId("beaver00")]),
    name=st.just("name"),
    standing=st.sampled_from(Standing),
    generation=st.integers(1, 3),
)


@st.composite
def known(draw: st.DrawFn) -> Records:
    found = draw(st.lists(owners, max_size=2))
    past = frozenset(draw(st.sets(st.sampled_from(["gone0000", "lost0000"]))))
    return Records(instance="mine", owners={one.id: one for one in found}, past=past)


@proves("REAP-001", "REAP-002", "REAP-004", "REAP-006", "REAP-007")
@given(sightings, known())
def test_what_may_be_removed_is_ours_proven_old_and_of_nobody(seen: Sighting, records: Records) -> None:
    if not judge(seen, records, _POLICY).is_removable:
        return
    owner = records.owners.get(seen.agent)
    assert seen.instance == "mine" or (not seen.instance and (owner or seen.agent in records.past))
    assert not (seen.unsure)
    assert not (seen.belongs)
    assert not (seen.holds)
    assert seen.age_s is None or seen.age_s >= 300.0
    assert seen.kind is not Kind.PROCESS or (seen.proof and "watchman" not in seen.name)
    if owner is not None:
        assert owner.standing is not Standing.BUSY
        assert not seen.outlives
        assert owner.standing is Standing.DOWN or seen.generation is not None
        assert owner.standing is Standing.DOWN or seen.generation < owner.generation  # type: ignore[operator]


@proves("REAP-008")
@given(sightings, known(), st.lists(st.floats(0, 200), min_size=1, max_size=6))
def test_nothing_is_due_before_a_grace_has_passed_since_it_was_first_seen(
    seen: Sighting, records: Records, times: list[float]
) -> None:
    judged, first, began = judge(seen, records, _POLICY), dict[str, float](), min(times)
    for now in sorted(times):
        if due([judged], first, now=now, policy=_POLICY):
            assert now - began >= 60.0
        first = again([judged], first, now=now)
