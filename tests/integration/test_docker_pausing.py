"""Pausing while commands are being started inside: nothing stays frozen."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import docker.errors
import pytest

from envmgr.model.observe import Present
from envmgr.protocols.engine import Container
from tests.support.docker import REDIS, Ours, engine, ours
from tests.support.own_engine import TINY, own_engine
from tests.support.requirements import proves
from tests.support.wait import async_eventually, eventually

pytestmark = pytest.mark.anyio


async def seen(ours: Ours, container: str) -> Container:
    found = await ours.engine.inspect(container)
    assert isinstance(found, Present)
    return found.value


@proves("DOCK-040")
async def test_a_container_that_is_probed_all_the_time_can_be_paused_again_and_again(ours: Ours) -> None:
    container = await ours.engine.run(ours.launch(image=REDIS))
    answers: list[int] = []
    seen_before: list[int] = []

    async def probe() -> None:
        while True:
            answers.append((await ours.engine.execute(container.name, ["true"], deadline_s=5))[0])

    def goes_on() -> bool:
        return len(answers) > seen_before[-1]

    async with anyio.create_task_group() as group:
        group.start_soon(probe)
        group.start_soon(probe)
        for _ in range(10):
            seen_before.append(len(answers))
            await async_eventually(goes_on)  # again one is under way
            await ours.engine.pause(container.id)
            before = len(answers)
            with anyio.fail_after(3):
                await ours.engine.unpause(container.id)
            assert len(answers) == before
        group.cancel_scope.cancel()

    assert (await seen(ours, container.id)).state == "running"
    assert set(answers) == {0}
    await ours.engine.remove(container.id)


@contextmanager
def persons_commands(container: str) -> Iterator[None]:
    """What others start inside, by the engine's own program, one after the other."""
    loop = f"while :; do docker exec {container} true; done"
    words = ["timeout", "60", "sh", "-c", loop]
    running = [subprocess.Popen(words, stdout=-3, stderr=-3, start_new_session=False) for _ in range(3)]
    try:
        yield
    finally:
        for each in running:
            each.terminate()
            each.wait(10)


def pauses(container: str) -> bool:
    """Without our care. What the engine reads late of the pause before makes it say that it still lasts, for a moment."""
    try:
        engine().api.pause(container)
    except docker.errors.APIError as error:
        if "already paused" in (error.explanation or ""):
            return False
        raise
    return True


@proves("DOCK-041")
async def test_a_container_that_hangs_because_of_somebody_elses_command_goes_on(ours: Ours) -> None:
    container = await ours.engine.run(ours.launch(image=REDIS))

    with persons_commands(container.name):
        for _ in range(6):
            eventually(lambda: pauses(container.id))
            with anyio.fail_after(40):
                await ours.engine.unpause(container.id)

    assert (await seen(ours, container.id)).state == "running"
    assert (await ours.engine.execute(container.id, ["redis-cli", "ping"], deadline_s=10))[0] == 0
    await ours.engine.remove(container.id)


@proves("DOCK-041")
async def test_a_container_that_runs_is_not_frozen_because_its_engine_is_slow() -> None:
    with own_engine() as own, ours(own.host, deadline_s=10) as there:
        container = await there.engine.run(there.launch("sleep", "60", image=TINY, init=True))

        async with anyio.create_task_group() as group:
            with own.frozen():
                group.start_soon(there.engine.unpause, container.id)
                await anyio.sleep(5)  # it gives the engine four
        status, _ = await there.engine.execute(container.id, ["busybox", "true"], deadline_s=5)

        assert status == 0
        await there.engine.remove(container.id)
