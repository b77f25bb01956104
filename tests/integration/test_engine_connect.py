"""A container takes part in a network for as long as it is connected, on the real engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from envmgr.drivers.docker import DockerEngine
from envmgr.model.container import PullPolicy
from envmgr.model.ids import InstanceId
from envmgr.protocols.engine import ContainerLaunch, Labels
from tests.support.docker import WEB, nothing_in_engine, own_labels
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
def labels() -> Iterator[Labels]:
    mine = own_labels()
    with nothing_in_engine(mine):
        yield mine


@pytest.fixture
def engine() -> Iterator[DockerEngine]:
    made = DockerEngine(instance=InstanceId("test"))
    yield made
    made.close()


@proves("SHARE-013")
async def test_a_container_is_reached_by_name_while_it_is_connected(
    labels: Labels, engine: DockerEngine
) -> None:
    tag = next(iter(labels.values()))
    first, second, db, web = (f"envmgr-{tag}-{part}" for part in ("one", "two", "db", "web"))
    await engine.image(WEB, pull=PullPolicy.NEVER)
    for network in (first, second):
        await engine.ensure_network(network, labels)
    await engine.run(ContainerLaunch(name=db, image=WEB, labels=labels, networks={first: ()}))
    await engine.run(ContainerLaunch(name=web, image=WEB, labels=labels, networks={second: ()}))

    async def sees_it() -> bool:
        code, _ = await engine.execute(
            web, ["busybox", "wget", "-q", "-O", "/dev/null", "http://db/"], deadline_s=10
        )
        return code == 0

    assert not await sees_it()
    for _ in range(2):
        await engine.connect_network(second, db, aliases=["db"])
    await async_eventually(sees_it, within_s=10)
    for _ in range(2):
        await engine.disconnect_network(second, db)
    assert not await sees_it()
    await engine.disconnect_network("envmgr-nowhere", db)
    await engine.disconnect_network(second, "envmgr-nobody")
    for container in (db, web):
        await engine.remove(container)
    for network in (first, second):
        await engine.remove_network(network)
