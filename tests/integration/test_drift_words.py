"""What the engine and the keeper report against what was launched, case by case."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from envmgr.model.container import ContainerSpec
from envmgr.model.ids import LABEL_GENERATION, LABEL_SERVICE, container_name, network_name
from envmgr.model.service import ChangeAction, PortSpec, Reaction, ServiceKind, ServiceSpec
from envmgr.protocols.engine import Container
from envmgr.protocols.keepers import Held
from envmgr.runtime import comparing, footing
from envmgr.runtime.basis import Basis
from envmgr.runtime.incarnation import Incarnation
from tests.support.incarnations import AGENT, incarnation
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

DB = ServiceSpec(
    name="db",
    kind=ServiceKind.CONTAINER,
    ports=(PortSpec(name="sql", container=5432),),
    container=ContainerSpec(image="postgres:16", networks=("default", "back")),
)
API = ServiceSpec(name="api", kind=ServiceKind.PROCESS, command="serve")
AS_LAUNCHED = Container(
    id="c0ffee",
    name=container_name(AGENT, 1, "db"),
    image="postgres:16",
    labels={LABEL_GENERATION: "1", LABEL_SERVICE: "db"},
    state="running",
    pid=7,
    addresses={network_name(AGENT, 1, name): "172.20.0.2" for name in ("default", "back")},
    published={(5432, "tcp"): 20001},
)


@pytest.fixture
async def inc(tmp_path: Path) -> AsyncIterator[Incarnation]:
    async with incarnation(tmp_path, DB, API) as here:
        here.ports["db", "sql"] = 20001
        yield here


def said(inc: Incarnation, *found: Container, in_hand: set[str] | None = None) -> list[str]:
    return list(comparing.containers(inc, found, in_hand=in_hand or set()))


@proves("RELOAD-017")
@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({}, []),
        ({"name": "/" + AS_LAUNCHED.name}, []),
        ({"published": {(5432, "tcp"): 5432}}, ["port sql of db is published at 5432, not at 20001"]),
        ({"published": {}}, ["port sql of db is published at nothing, not at 20001"]),
        (
            {"addresses": {network_name(AGENT, 1, "default"): "172.20.0.2"}},
            ["db was taken from the network back"],
        ),
        ({"name": "mine"}, ["the container of db was renamed to mine"]),
        ({"state": "paused"}, ["the container of db is paused"]),
        ({"state": "exited", "exit_code": 0}, ["the container of db was stopped"]),
        ({"state": "exited", "exit_code": 143}, ["the container of db was stopped"]),
        ({"state": "exited", "exit_code": 1}, []),
        ({"state": "exited", "exit_code": 137, "out_of_memory": True}, []),
    ],
    ids=range(11),
)
async def test_a_container_is_told_by_what_somebody_did_to_it_and_a_crash_is_none(
    inc: Incarnation, edit: dict[str, Any], words: list[str]
) -> None:
    assert said(inc, replace(AS_LAUNCHED, **edit)) == words


@proves("RELOAD-017")
async def test_a_container_that_is_gone_is_told_but_not_while_we_change_it_ourselves(
    inc: Incarnation,
) -> None:
    older = replace(AS_LAUNCHED, labels={**AS_LAUNCHED.labels, LABEL_GENERATION: "0"})

    assert said(inc) == said(inc, older) == ["the container of db was removed"]
    assert said(inc, in_hand={"db"}) == []


@proves("RELOAD-017")
@pytest.mark.parametrize(
    ("end", "words"),
    [
        ({"exit_signal": "SIGKILL"}, ["api was ended from outside (SIGKILL)"]),
        ({"exit_signal": "SIGTERM"}, ["api was ended from outside (SIGTERM)"]),
        ({"exit_signal": "SIGSEGV"}, []),
        ({"exit_signal": "SIGKILL", "out_of_memory": True}, []),
        ({"exit_signal": "SIGHUP"}, []),
        ({"exit_code": 1}, []),
        ({"ended_at": None}, []),
    ],
    ids=range(7),
)
async def test_a_process_that_somebody_ended_is_told_and_one_that_ended_itself_is_not(
    inc: Incarnation, end: dict[str, Any], words: list[str]
) -> None:
    told = replace(API, on_env_change=Reaction(action=ChangeAction.SIGNAL, signal="SIGHUP"))
    inc.spec = replace(inc.spec, services=(told,))
    held = Held(
        service="api", generation=1, launch=1, identity=None, started_at=1.0, error="", log=Path("api.log"),
        log_offset=0, **{"ended_at": 2.0, "exit_code": None, "exit_signal": None, **end},
    )  # fmt: skip
    if held.ended_at is None:
        held = replace(held, container="c0ffee")  # alive

    assert list(comparing.processes(inc, {"api": held}, in_hand=set())) == words


@proves("RELOAD-016")
async def test_digests_are_those_of_the_generation_and_are_read_again_when_a_file_changes(
    inc: Incarnation,
) -> None:
    lock = inc.path / "uv.lock"
    lock.write_text("one")
    assert await footing.recorded(inc) is None

    await footing.record(inc)
    before = await footing.recorded(inc)
    lock.write_text("two!")
    now = await anyio.to_thread.run_sync(footing.look, inc)

    assert before is not None
    assert set(before.files) == set(now.files) == {"uv.lock"}
    assert before.files != now.files
    assert await footing.recorded(replace(inc, generation=2)) is None


@proves("RELOAD-016")
async def test_a_folder_where_a_service_works_counts_too(inc: Incarnation) -> None:
    inc.spec = replace(inc.spec, services=(replace(API, cwd="web"),))
    (inc.path / "web").mkdir()
    (inc.path / "web" / "package-lock.json").write_text("{}")

    found = await anyio.to_thread.run_sync(footing.look, inc)

    assert set(found.files) == {"web/package-lock.json"}


async def test_an_agent_without_a_worktree_has_no_base_to_fall_behind(inc: Incarnation) -> None:
    inc.worktree = None

    assert await Basis().moved(inc) == 0
