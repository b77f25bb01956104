"""Who starts anew with whom, and in which order."""

from __future__ import annotations

from envmgr.core.replicas import expand
from envmgr.core.waves import followers, waves
from envmgr.model.service import Condition, Dependency, ServiceKind, ServiceSpec
from tests.support.requirements import proves


def service(name: str, *needs: str, follows: str = "", replicas: int | None = None) -> ServiceSpec:
    edges = tuple(Dependency(service=n, condition=Condition.READY, restart=n == follows) for n in needs)
    return ServiceSpec(
        name=name, kind=ServiceKind.PROCESS, command="run", depends_on=edges, replicas=replicas
    )


@proves("CTRL-002")
def test_only_edges_that_say_restart_are_followed_and_through_others_too() -> None:
    units = (
        service("db"),
        service("api", "db", follows="db"),
        service("web", "api", follows="api"),
        service("worker", "db"),
    )
    assert followers(units, {"db"}) == {"api", "web"}
    assert followers(units, {"worker"}) == frozenset()


@proves("CTRL-002")
def test_who_follows_a_replicated_service_does_so_when_all_its_instances_start_anew() -> None:
    units = expand([service("api", replicas=2), service("web", "api", follows="api")])
    assert followers(units, {"api-1"}) == frozenset()
    assert followers(units, {"api-0", "api-1"}) == {"web"}


@proves("CTRL-003")
def test_instances_go_one_by_one_and_the_others_after_them() -> None:
    units = expand([service("api", replicas=3), service("web", "api"), service("job", replicas=2)])
    chosen = {"api-0", "api-1", "api-2", "job-0", "job-1", "web"}
    assert waves(units, chosen) == (("api-0", "job-0"), ("api-1", "job-1"), ("api-2",), ("web",))
    assert waves(units, {"api-2"}) == (("api-2",), ())


@proves("CTRL-003")
def test_instances_that_come_are_started_together() -> None:
    units = expand([service("api", replicas=4)])
    assert waves(units, {"api-1"}, {"api-2", "api-3"}) == (("api-1",), ("api-2", "api-3"))


@proves("CTRL-003")
def test_instances_whose_dependency_starts_anew_go_together_with_it() -> None:
    units = expand([service("db"), service("api", "db", follows="db", replicas=2)])
    assert waves(units, {"db", "api-0", "api-1"}) == (("db", "api-0", "api-1"),)
