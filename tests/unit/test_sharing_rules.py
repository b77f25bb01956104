"""When two templates mean the same shared service."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from envmgr.aio.turns import Turns
from envmgr.core import sharing
from envmgr.model.container import ContainerSpec, MountKind, MountSpec, Scope
from envmgr.model.probe import Readiness, TcpProbe
from envmgr.model.service import PortSpec, RestartPolicy, ServiceKind, ServiceSpec, Tenant
from tests.support.requirements import proves

DB = ServiceSpec(
    name="db",
    kind=ServiceKind.CONTAINER,
    scope=Scope.SHARED,
    container=ContainerSpec(
        image="postgres:16", mounts=(MountSpec(kind=MountKind.VOLUME, source="data", target="/data"),)
    ),
    ports=(PortSpec(name="sql", container=5432),),
    env={"POSTGRES_USER": "shop", "PGDATA": "/data"},
)


@proves("SHARE-005")
def test_what_is_each_agents_own_is_not_part_of_the_definition() -> None:
    seen_otherwise = replace(
        DB,
        env=dict(sorted(DB.env.items())),
        exports={"DATABASE_URL": "postgres://otter"},
        tenant=Tenant(create="createdb otter"),
        ready=Readiness(probe=TcpProbe(port="sql")),
        restart=RestartPolicy(),
        description="the database",
        critical=False,
    )
    assert sharing.digest(seen_otherwise) == sharing.digest(DB)


@pytest.mark.parametrize(
    "other",
    [
        replace(DB, env={"POSTGRES_USER": "other"}),
        replace(DB, command="postgres -c fsync=off"),
        replace(DB, ports=(PortSpec(name="sql", container=5433),)),
        replace(DB, container=ContainerSpec(image="postgres:17")),
    ],
)
@proves("SHARE-005")
def test_what_runs_is(other: ServiceSpec) -> None:
    assert sharing.digest(other) != sharing.digest(DB)


@proves("SHARE-001")
def test_the_instance_is_named_by_repository_and_service_and_never_like_an_agent() -> None:
    names = {sharing.shared_id(repo, service) for repo in ("/a/.git", "/b/.git") for service in ("db", "mq")}
    assert len(names) == 4
    assert all(len(name) == 8 and name.startswith("sh") for name in names)


@proves("SHARE-003")
@pytest.mark.anyio
async def test_one_at_a_time_per_name_in_the_order_of_asking() -> None:
    turns, story = Turns(), list[str]()

    async def work(name: str, word: str) -> None:
        async with turns.of(name):
            story.append(f"{word} begins")
            await anyio.sleep(0.01)
            story.append(f"{word} ends")

    async with anyio.create_task_group() as group:
        for word in ("first", "second"):
            group.start_soon(work, "db", word)
        group.start_soon(work, "mq", "other")
    mine = [line for line in story if not line.startswith("other")]
    assert mine == ["first begins", "first ends", "second begins", "second ends"]
    assert story.index("other begins") < story.index("first ends")
