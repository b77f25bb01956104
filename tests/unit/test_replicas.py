"""What runs for a replicated service."""

from __future__ import annotations

from envmgr.core.replicas import clashes, expand, members
from envmgr.model.container import ContainerSpec
from envmgr.model.service import PortSpec, ServiceKind, ServiceSpec
from tests.support.requirements import proves

API = ServiceSpec(
    name="api",
    kind=ServiceKind.PROCESS,
    command="serve ${ports.http}",
    env={"A": "1"},
    ports=(PortSpec(name="http", prefer=3000, fixed=True, open=True, bind="0.0.0.0"),),
    exports={"API_URL": "http://127.0.0.1:${ports.http}"},
    replicas=2,
)


@proves("REPL-002")
def test_an_instance_knows_its_number_and_has_a_port_of_its_own() -> None:
    first, second, front = expand([API])
    assert [dict(unit.env) for unit in (first, second)] == [
        {"A": "1", "ENVMGR_REPLICA": "0"},
        {"A": "1", "ENVMGR_REPLICA": "1"},
    ]
    assert first.ports == (PortSpec(name="http", bind="127.0.0.1"),)
    assert (second.replica_of, second.index, second.exports) == ("api", 1, {})
    assert front.kind is ServiceKind.BALANCER
    assert front.ports == API.ports
    assert front.exports == API.exports


@proves("REPL-002")
def test_without_tcp_ports_nothing_runs_in_front() -> None:
    worker = ServiceSpec(
        name="worker", kind=ServiceKind.PROCESS, command="work", replicas=1, ports=(PortSpec(name="dns", protocol="udp"),)
    )  # fmt: skip
    instance, front = expand([worker])
    assert (front.kind, front.ports, front.ready) == (ServiceKind.GROUP, (), None)
    assert instance.name == "worker-0"


@proves("REPL-002")
def test_a_container_instance_answers_to_the_service_name_too() -> None:
    cache = ServiceSpec(
        name="cache",
        kind=ServiceKind.CONTAINER,
        container=ContainerSpec(image="redis", aliases=("kv",), hostname="cachehost"),
        ports=(PortSpec(name="tcp", container=6379),),
        replicas=2,
    )
    _, second, front = expand([cache])
    assert second.container is not None
    assert second.container.aliases == ("kv", "cache")
    assert second.container.hostname == "cachehost-1"
    assert second.ports[0].container == 6379
    assert front.container is None
    assert front.ports[0].container is None


def test_tasks_and_external_services_are_never_more_than_one() -> None:
    task = ServiceSpec(name="migrate", kind=ServiceKind.TASK, command="true", replicas=3)
    external = ServiceSpec(name="mail", kind=ServiceKind.EXTERNAL, replicas=3)
    assert expand([task, external]) == (task, external)


def test_two_units_of_one_name_are_told() -> None:
    other = ServiceSpec(name="api-1", kind=ServiceKind.PROCESS, command="true")
    assert clashes([API, other]) == ("api-1",)


def test_a_name_stands_for_its_instances() -> None:
    units = expand([API])
    assert [unit.name for unit in members(units, "api")] == ["api-0", "api-1"]
    assert [unit.name for unit in members(units, "api-1")] == ["api-1"]
