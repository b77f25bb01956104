"""Tasks run once for the same content, and again when what they stand on is another one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from envmgr.model.ids import AgentId
from envmgr.model.service import Condition, Dependency, RunWhen, ServiceKind, ServiceSpec, ServiceState
from envmgr.runtime import run_when, runners
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.outcomes import Outcome, ServiceFailed
from envmgr.runtime.services import ServiceRun
from tests.support.incarnations import incarnation
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

# Notes each run outside of what it follows.
MIGRATE = ServiceSpec(
    name="migrate",
    kind=ServiceKind.TASK,
    command="echo ran >>runs; exec true",
    env={"TOKEN": "${secrets.token}", "MODE": "a"},
    run_when=RunWhen(changed=("db/**",), env=("TOKEN", "MODE")),
)


@pytest.fixture
async def inc(tmp_path: Path) -> AsyncIterator[Incarnation]:
    async with incarnation(tmp_path, MIGRATE) as made:
        (made.path / "db").mkdir()
        (made.path / "db" / "1.sql").write_text("create table a;", encoding="utf-8")
        yield made


async def start(inc: Incarnation, *, token: str = "hush") -> Outcome:
    """One start of everything, in a generation of its own."""
    inc.generation += 1
    told: list[Outcome] = []

    def tell(service: str, state: ServiceState, detail: str) -> None:
        told.append(Outcome(state=state, detail=detail))

    with anyio.fail_after(20):
        run = ServiceRun(inc, await runners.hire(inc), {"token": token}, tell)
        try:
            await run.start()
        finally:
            await _dismiss(inc)
    return told[-1]


async def _dismiss(inc: Incarnation) -> None:
    hired = await runners.hire(inc)
    for runner in hired.all():
        await runner.dismiss()


def runs(inc: Incarnation) -> int:
    return len((inc.path / "runs").read_text(encoding="utf-8").splitlines())


def change_spec(inc: Incarnation, **more: object) -> None:
    inc.spec = replace(inc.spec, services=(replace(MIGRATE, **more),))  # type: ignore[arg-type]


@proves("TASK-001")
async def test_the_same_content_runs_a_task_once(inc: Incarnation) -> None:
    assert (await start(inc)).state is ServiceState.DONE
    again = await start(inc)
    assert (again.state, runs(inc)) == (ServiceState.DONE, 1)
    assert again.detail.startswith("skipped: unchanged since 20")


@proves("TASK-009")
async def test_a_later_run_that_fails_takes_back_the_earlier_success(inc: Incarnation) -> None:
    change_spec(inc, command="echo ran >>runs; ! grep -q wrong db/1.sql")
    await start(inc)
    file = inc.path / "db" / "1.sql"
    file.write_text("wrong", encoding="utf-8")
    with pytest.raises(ServiceFailed):
        await start(inc)
    file.write_text("create table a;", encoding="utf-8")
    assert (await start(inc)).detail == "exited with 0"
    assert runs(inc) == 3


@proves("TASK-002")
async def test_a_newer_time_and_a_commit_of_the_same_content_are_no_change(inc: Incarnation) -> None:
    (inc.path / "db" / ".git").mkdir()
    await start(inc)
    (inc.path / "db" / ".git" / "index").write_text("something", encoding="utf-8")
    os.utime(inc.path / "db" / "1.sql", (1, 1))
    (inc.path / "elsewhere.sql").write_text("not followed", encoding="utf-8")
    await start(inc)
    assert runs(inc) == 1


@proves("TASK-003")
async def test_a_changed_an_added_and_a_removed_file_run_it_again(inc: Incarnation) -> None:
    await start(inc)
    (inc.path / "db" / "1.sql").write_text("create table b;", encoding="utf-8")
    await start(inc)
    (inc.path / "db" / "2.sql").write_text("", encoding="utf-8")
    await start(inc)
    (inc.path / "db" / "1.sql").unlink()
    await start(inc)
    assert runs(inc) == 4


@proves("TASK-003")
async def test_another_variable_or_command_runs_it_again(inc: Incarnation) -> None:
    await start(inc)
    await start(inc, token="other")
    change_spec(inc, env={**MIGRATE.env, "MODE": "b"})
    await start(inc, token="other")
    change_spec(inc, command=f"{MIGRATE.command} # twice", env={**MIGRATE.env, "MODE": "b"})
    await start(inc, token="other")
    await start(inc, token="other")
    assert runs(inc) == 4


@proves("TASK-004")
async def test_a_failed_run_is_not_remembered(inc: Incarnation) -> None:
    change_spec(inc, command="echo ran >>runs; echo no table >&2; exit 3")
    for _ in range(2):
        with pytest.raises(ServiceFailed, match="migrate ended with status 3; its last words: no table"):
            await start(inc)
    assert runs(inc) == 2


@proves("TASK-004")
async def test_a_task_that_changes_what_it_follows_is_remembered_once_it_no_longer_does(
    inc: Incarnation,
) -> None:
    change_spec(inc, command="echo ran >>runs; echo locked >db/lock")
    for _ in range(4):
        await start(inc)
    assert runs(inc) == 2


@proves("TASK-005")
async def test_no_value_is_kept_and_nothing_outlives_the_agent(inc: Incarnation) -> None:
    await start(inc)
    kept = await inc.systems.store.read(lambda tx: tx.under(""))
    assert f"run/{inc.id}/migrate" in kept
    assert not any("hush" in value for value in kept.values())
    await inc.systems.store.write(lambda tx: run_when.forget_all(tx, inc.id))
    assert not await inc.systems.store.read(lambda tx: tx.under("run/"))


@proves("TASK-001")
async def test_a_task_that_is_asked_for_runs_whatever_it_stands_on(inc: Incarnation) -> None:
    await start(inc)
    await run_when.forget(inc, "migrate")
    await start(inc)
    assert runs(inc) == 2


@proves("TASK-007")
async def test_a_fork_begins_with_what_its_origin_remembers(inc: Incarnation) -> None:
    await start(inc)
    store, origin = inc.systems.store, inc.id
    known = await store.read(lambda tx: run_when.recalled(tx, origin))
    inc.id = AgentId("f0rk0000")
    await store.write(lambda tx: run_when.inherit(tx, inc.id, known, volumes=True))
    assert (await start(inc)).detail.startswith("skipped")
    assert runs(inc) == 1


@proves("TASK-001")
async def test_dependants_take_a_skipped_task_for_a_success(inc: Incarnation) -> None:
    edge = Dependency(service="migrate", condition=Condition.SUCCEEDED)
    after = ServiceSpec(name="seed", kind=ServiceKind.TASK, command="echo ran >>runs", depends_on=(edge,))
    inc.spec = replace(inc.spec, services=(MIGRATE, after))
    await start(inc)
    assert (await start(inc)).state is ServiceState.DONE
    assert runs(inc) == 3


@proves("TASK-006")
async def test_a_task_that_does_not_end_is_ended_and_tells_what_it_wrote(inc: Incarnation) -> None:
    change_spec(inc, command="echo half way; exec sleep 600", timeout_s=0.5)
    with pytest.raises(ServiceFailed, match="task migrate did not end within 0.5 s") as failed:
        await start(inc)
    assert "half way" in str(failed.value.details["log"])


@proves("TASK-002")
async def test_pipes_links_and_vanished_files_are_no_trouble(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "round").symlink_to(".")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    found = await anyio.to_thread.run_sync(run_when.digests, tmp_path, ["**", "missing.txt"])
    assert set(found) == {"link", "round", "file"}
    assert found["link"] == "link to nowhere"
