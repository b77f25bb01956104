"""However services are scaled: names, numbers and neighbours stay as they are."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from envmgr.core.graph import levels
from envmgr.core.replicas import FRONTS, MOST, clashes, differences, expand, instance_name
from envmgr.model.container import ContainerSpec
from envmgr.model.service import Condition, Dependency, PortSpec, ServiceKind, ServiceSpec
from tests.support.requirements import proves

COUNTS = st.none() | st.integers(1, MOST)
PORTS = st.lists(
    st.builds(PortSpec, name=st.sampled_from(["http", "grpc"]), prefer=st.none() | st.just(3000)),
    max_size=2,
    unique_by=lambda port: port.name,
).map(tuple)


@st.composite
def several(draw: st.DrawFn) -> tuple[ServiceSpec, ...]:
    """A few services, each needing some of those before it."""
    made: list[ServiceSpec] = []
    for name in ("db", "api", "web", "worker"):
        needs = draw(st.lists(st.sampled_from([s.name for s in made]), unique=True)) if made else []
        container = draw(st.none() | st.just(ContainerSpec(image="x")))
        made.append(
            ServiceSpec(
                name=name,
                kind=ServiceKind.CONTAINER if container else ServiceKind.PROCESS,
                command="run",
                container=container,
                ports=draw(PORTS),
                depends_on=tuple(Dependency(service=n, condition=Condition.READY) for n in needs),
                replicas=draw(COUNTS),
            )
        )
    return tuple(made)


def scaled(services: tuple[ServiceSpec, ...], name: str, count: int | None) -> tuple[ServiceSpec, ...]:
    return tuple(replace(s, replicas=count) if s.name == name else s for s in services)


@proves("REPL-001")
@given(several())
def test_instances_are_numbered_from_zero_and_stand_before_the_name_they_serve(
    services: tuple[ServiceSpec, ...],
) -> None:
    expected: list[str] = []
    for service in services:
        expected += [instance_name(service.name, i) for i in range(service.replicas or 0)] + [service.name]
    assert [unit.name for unit in expand(services)] == expected
    assert clashes(services) == ()


@proves("REPL-001")
@given(several(), st.sampled_from(["db", "api"]), st.integers(1, MOST), st.integers(1, MOST))
def test_scaling_touches_nothing_but_the_highest_instances(
    services: tuple[ServiceSpec, ...], name: str, old: int, new: int
) -> None:
    before, after = expand(scaled(services, name, old)), expand(scaled(services, name, new))
    gone, come = differences(before, after)
    assert gone == tuple(instance_name(name, i) for i in reversed(range(new, old)))
    assert come == tuple(instance_name(name, i) for i in range(old, new))
    stay = {unit.name: unit for unit in before if unit.name not in gone and unit.name != name}
    assert {unit.name: unit for unit in after if unit.name in stay} == stay


@proves("REPL-001")
@given(several(), st.integers(1, MOST))
def test_a_service_that_was_not_replicated_makes_room_once(
    services: tuple[ServiceSpec, ...], count: int
) -> None:
    gone, come = differences(expand(scaled(services, "api", None)), expand(scaled(services, "api", count)))
    assert gone == ("api",)
    assert come == (*(instance_name("api", i) for i in range(count)), "api")


@proves("REPL-002")
@given(several())
def test_units_have_an_order_and_dependants_reach_the_name_in_front(
    services: tuple[ServiceSpec, ...],
) -> None:
    units = expand(services)
    order = levels({unit.name: [edge.service for edge in unit.depends_on] for unit in units})
    place = {name: i for i, level in enumerate(order) for name in level}
    for unit in units:
        if unit.kind in FRONTS:
            behind = [one.name for one in units if one.replica_of == unit.name]
            assert [edge.service for edge in unit.depends_on] == behind
            assert not any(edge.required for edge in unit.depends_on)
        assert all(place[edge.service] < place[unit.name] for edge in unit.depends_on)


@proves("REPL-002")
@given(several())
def test_preferred_ports_belong_to_the_stable_name_only(services: tuple[ServiceSpec, ...]) -> None:
    declared = {(s.name, p.name): p for s in services for p in s.ports}
    for unit in expand(services):
        for port in unit.ports:
            if unit.replica_of:
                assert (port.prefer, port.fixed) == (None, False)
            else:
                assert port.prefer == declared[unit.name, port.name].prefer
