from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envmgr.errors import Unavailable
from envmgr.model.agent import AgentState
from envmgr.model.effect import Effect
from envmgr.model.lease import StepRecord, Tombstone
from envmgr.model.probe import AllOf, AnyOf, HttpProbe, Readiness, TcpProbe
from envmgr.model.spec import AgentSpec
from envmgr.protocols.store import Snapshot
from envmgr.store.codec import Codec
from tests.support.requirements import proves
from tests.support.specs import any_of_type, record

T = TypeVar("T")

patient = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def _returns_equal(kind: type[T], value: T) -> None:
    codec = Codec(kind)
    found = codec.load(codec.dump(value))

    assert found == value
    # 1 == 1.0 == True, and an enum equals its text; the types must come back too.
    assert repr(found) == repr(value) or isinstance(value, AgentState)


@proves("STORE-009")
@patient
@given(any_of_type(AgentSpec))
def test_any_spec_comes_back_equal(spec: AgentSpec) -> None:
    _returns_equal(AgentSpec, spec)


@proves("STORE-009")
@patient
@given(any_of_type(AgentState))
def test_any_state_comes_back_equal(state: AgentState) -> None:
    _returns_equal(AgentState, state)


@proves("STORE-009")
@patient
@given(
    st.sampled_from([Effect, StepRecord, Tombstone, Snapshot]).flatmap(
        lambda kind: st.tuples(st.just(kind), any_of_type(kind))
    )
)
def test_any_effect_step_tombstone_and_snapshot_comes_back_equal(drawn: tuple[type[Any], Any]) -> None:
    _returns_equal(*drawn)


@proves("STORE-009")
@pytest.mark.parametrize(
    "probe",
    [
        AnyOf(probes=(TcpProbe(port="web"), HttpProbe(port="web"))),
        AllOf(probes=(TcpProbe(port="web"), HttpProbe(port="web"))),
        TcpProbe(port="web"),
        HttpProbe(port="web"),
    ],
)
def test_probes_with_the_same_fields_are_told_apart(probe: AnyOf) -> None:
    codec = Codec(Readiness)

    assert codec.load(codec.dump(Readiness(probe=probe))).probe == probe


def test_a_field_added_later_takes_its_default() -> None:
    codec = Codec(AgentSpec)
    written = json.loads(codec.dump(record().spec))
    del written["retention"]

    assert codec.load(json.dumps(written)) == record().spec


def test_a_field_dropped_later_is_ignored() -> None:
    codec = Codec(AgentSpec)
    written = json.loads(codec.dump(record().spec))

    assert codec.load(json.dumps({**written, "colour": "blue"})) == record().spec


@proves("STORE-006")
@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"id": "a", "name": "b", "lifecycle": "asleep"}'])
def test_what_is_no_such_value_is_reported_and_not_guessed(text: str) -> None:
    with pytest.raises(Unavailable, match="a stored AgentState cannot be read") as caught:
        Codec(AgentState).load(text)

    assert caught.value.hint


@dataclass(frozen=True)
class _Ambiguous:
    value: TcpProbe | str


@dataclass(frozen=True)
class _Numbered:
    value: tuple[int, str]


@pytest.mark.parametrize("kind", [_Ambiguous, _Numbered])
def test_a_type_whose_json_would_be_ambiguous_is_refused_before_anything_is_written(kind: type) -> None:
    with pytest.raises(TypeError):
        Codec(kind).dump(kind("x"))
