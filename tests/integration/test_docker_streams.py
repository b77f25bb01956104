"""What comes from containers over time: output, events, commands inside; no thread waits for any of it."""

from __future__ import annotations

import threading
import time
from contextlib import aclosing

import anyio
import pytest

from envmgr.errors import Conflict, NotFound
from envmgr.model.observe import Absent, Present
from tests.support.docker import WEB, Ours, engine
from tests.support.requirements import proves
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio


async def lines(ours: Ours, container: str, *, since: float = 0.0) -> list[tuple[float, bytes]]:
    async with aclosing(ours.engine.output(container, since=since)) as output:
        return [line async for line in output]


@proves("DOCK-010")
async def test_output_has_the_exact_bytes_of_both_streams_and_ends_with_the_container(ours: Ours) -> None:
    script = r"""printf 'one\r\n\ntwo \xff\x00\033[1mbold\n'; printf 'oops\n' >&2; printf 'no end'"""
    container = await ours.engine.run(ours.launch("bash", "-c", script))
    began_at = time.time()

    found = await lines(ours, container.id)

    assert sorted(line for _, line in found) == sorted(
        [b"one\r\n", b"\n", b"two \xff\x00\x1b[1mbold\n", b"oops\n", b"no end"]
    )
    assert [line for _, line in found if line != b"oops\n"][:3] == [
        b"one\r\n",
        b"\n",
        b"two \xff\x00\x1b[1mbold\n",
    ]
    assert all(began_at - 10 < at < began_at + 10 for at, _ in found)
    await ours.engine.remove(container.id)


@proves("DOCK-010")
async def test_output_of_a_container_with_a_terminal_comes_line_by_line_and_is_resumed(ours: Ours) -> None:
    script = (
        "test -t 0 && test -t 1 && echo at a terminal; echo; printf 'tick\\nno end'; sleep 0.3; echo; exit 5"
    )
    container = await ours.engine.run(ours.launch("sh", "-c", script, tty=True, stdin=True))

    everything = await lines(ours, container.id)
    rest = await lines(ours, container.id, since=everything[2][0])

    assert [line for _, line in everything] == [b"at a terminal\n", b"\n", b"tick\n", b"no end\n"]
    assert rest == everything[2:]
    match await ours.engine.inspect(container.id):
        case Present(found):
            assert found.exit_code == 5
    await ours.engine.remove(container.id)


@proves("DOCK-010")
async def test_an_input_that_stays_open_keeps_who_reads_it_alive(ours: Ours) -> None:
    open_, closed = [
        await ours.engine.run(ours.launch("cat", what=what, stdin=what == "open"))
        for what in ("open", "closed")
    ]

    await lines(ours, closed.id)
    match await ours.engine.inspect(open_.id):
        case Present(found):
            assert found.is_alive
    for one in (open_, closed):
        await ours.engine.remove(one.id)


@proves("DOCK-010")
async def test_output_is_resumed_where_it_was_left(ours: Ours) -> None:
    container = await ours.engine.run(
        ours.launch("sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.02; done")
    )
    everything = await lines(ours, container.id)

    rest = await lines(ours, container.id, since=everything[2][0])

    assert [line for _, line in everything] == [b"1\n", b"2\n", b"3\n", b"4\n", b"5\n"]
    assert rest == everything[2:]
    await ours.engine.remove(container.id)


@proves("DOCK-010")
async def test_long_lines_are_whole_and_endless_ones_come_in_pieces(ours: Ours) -> None:
    script = "head -c 50000 /dev/zero | tr '\\0' x; echo; head -c 300000 /dev/zero | tr '\\0' y"
    container = await ours.engine.run(ours.launch("sh", "-c", script))

    found = [line for _, line in await lines(ours, container.id)]

    assert found[0] == b"x" * 50000 + b"\n"
    assert b"".join(found[1:]) == b"y" * 300000
    assert max(map(len, found)) < 2 * 65536
    await ours.engine.remove(container.id)


@proves("DOCK-010")
async def test_a_hundred_thousand_lines_arrive_in_order(ours: Ours) -> None:
    container = await ours.engine.run(ours.launch("seq", "1", "100000"))

    found = [line for _, line in await lines(ours, container.id)]

    assert found == [b"%d\n" % number for number in range(1, 100001)]
    await ours.engine.remove(container.id)


@proves("DOCK-010")
async def test_following_many_costs_no_threads_and_ends_when_cancelled(ours: Ours) -> None:
    container = await ours.engine.run(ours.launch("sh", "-c", "while echo tick; do sleep 0.1; done"))
    heard = [0] * 30

    async def follow(number: int) -> None:
        async for _ in ours.engine.output(container.id):
            heard[number] += 1

    async with anyio.create_task_group() as group:
        before = threading.active_count()
        for number in range(len(heard)):
            group.start_soon(follow, number)
        await async_eventually(lambda: min(heard) >= 2)
        threads = threading.active_count() - before
        began_at = time.monotonic()
        group.cancel_scope.cancel()

    assert threads <= 4
    assert time.monotonic() - began_at < 1
    await ours.engine.remove(container.id)


@proves("DOCK-010")
async def test_the_output_of_nothing_is_refused(ours: Ours) -> None:
    with pytest.raises(NotFound, match="No such container"):
        await lines(ours, ours.name("never-was"))


@proves("DOCK-011")
async def test_changes_tell_of_our_containers_only_and_not_of_probes(ours: Ours) -> None:
    heard: list[str] = []

    async def listen() -> None:
        async for container in ours.engine.changes():
            heard.append(container)  # noqa: PERF401 - it has no end

    async with anyio.create_task_group() as group:
        group.start_soon(listen)
        first = await ours.engine.run(ours.launch("sleep", "60", what="first"))
        await async_eventually(lambda: heard)
        foreign = engine().api.create_container("envmgr-test/base", ["true"])["Id"]
        engine().api.remove_container(foreign)
        known = len(heard)
        await ours.engine.execute(first.id, ["true"], deadline_s=10)
        second = await ours.engine.run(ours.launch("true", what="second"))
        await async_eventually(lambda: heard.count(second.id) >= 2)
        assert first.id not in heard[known + 1 :]
        await ours.engine.remove(first.id)
        await async_eventually(lambda: heard[-1] == first.id)
        group.cancel_scope.cancel()

    assert foreign not in heard
    await ours.engine.remove(second.id)


@proves("DOCK-012")
async def test_a_command_inside_answers_with_status_and_both_streams(ours: Ours) -> None:
    container = await ours.engine.run(ours.launch(image=WEB))

    async def run(*argv: str, **env: str) -> tuple[int, str]:
        return await ours.engine.execute(container.id, argv, deadline_s=10, env=env)

    assert await run("sh", "-c", "echo $A; exit 3", A="b c") == (3, "b c\n")
    assert sorted((await run("sh", "-c", "echo out; echo err >&2"))[1].split()) == ["err", "out"]
    status, said = await run("no-such-program")
    assert status == 126
    assert 'exec: "no-such-program": executable file not found' in said
    assert (await run("sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x; echo the end"))[1][
        -8:
    ] == "the end\n"
    await ours.engine.remove(container.id)


def running(container: str) -> list[str]:
    """What lives inside; ps puts into brackets what has ended and was not taken note of."""
    lines = [row[-1] for row in engine().api.top(container)["Processes"]]
    return [line for line in lines if not line.startswith("[")]


@proves("DOCK-012")
@pytest.mark.parametrize(
    "script",
    ["sleep 100", "sleep 100 & sleep 101; true", "trap '' TERM INT HUP; while :; do sleep 1; done"],
    ids=["one process", "a group", "ignoring signals"],
)
async def test_a_command_that_takes_too_long_is_ended_inside(ours: Ours, script: str) -> None:
    container = await ours.engine.run(ours.launch("sleep", "60"))
    began_at = time.monotonic()

    status, said = await ours.engine.execute(
        container.id, ["sh", "-c", f"echo begun; {script}"], deadline_s=0.5
    )

    assert time.monotonic() - began_at < 8
    assert (status, said) == (124, "begun\nsh did not end within 0.5 s\n")
    assert running(container.id) == ["sleep 60"]
    await ours.engine.remove(container.id)


@proves("DOCK-012")
async def test_a_cancelled_command_is_ended_inside_too(ours: Ours) -> None:
    container = await ours.engine.run(ours.launch("sleep", "60"))

    with anyio.move_on_after(1):
        await ours.engine.execute(container.id, ["sleep", "100"], deadline_s=30)

    assert running(container.id) == ["sleep 60"]
    await ours.engine.remove(container.id)


@proves("DOCK-012")
async def test_a_command_in_what_does_not_run_is_refused(ours: Ours) -> None:
    container = await ours.engine.run(ours.launch("sleep", "60"))
    await ours.engine.stop(container.id, signal="SIGKILL", grace_s=5)

    with pytest.raises(Conflict, match="is not running"):
        await ours.engine.execute(container.id, ["true"], deadline_s=5)
    await ours.engine.remove(container.id)
    with pytest.raises(NotFound):
        await ours.engine.execute(container.id, ["true"], deadline_s=5)
    assert isinstance(await ours.engine.inspect(container.id), Absent)
