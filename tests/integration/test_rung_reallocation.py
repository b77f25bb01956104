"""Rung 3: other ports and limits for what failed; who does not use them, and the assistant, run on."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from envmgr.errors import Conflict
from envmgr.model.incident import FailureClass, Rung
from envmgr.model.observe import Present
from envmgr.model.probe import HttpProbe, Readiness
from envmgr.model.service import PortSpec, ProcessLimits, ServiceKind, ServiceSpec
from envmgr.model.spec import Asked, AssistantSpec
from tests.support.climbing import Lab, running
from tests.support.requirements import proves
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

ASSISTANT = AssistantSpec(command=("sleep", "1000"))
WEB = ServiceSpec(
    name="web",
    kind=ServiceKind.PROCESS,
    command="exec python3 -m http.server $PORT --bind 127.0.0.1",
    ports=(PortSpec(name="http"),),
    ready=Readiness(probe=HttpProbe(port="http")),
)
USER = ServiceSpec(name="user", kind=ServiceKind.PROCESS, command="echo $WEB_HTTP_PORT; exec sleep 1000")


@contextmanager
def squatter(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A stranger who answers on the port with a good status."""
    argv = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: answers(port))
            yield process
        finally:
            process.terminate()


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


async def end(lab: Lab, service: str) -> None:
    match await lab.inc.systems.keepers.find(lab.inc.home, owner=lab.inc.tag):
        case Present(keeper):
            await keeper.stop(service, grace_s=2.0)


@proves("REALLOC-001", "R-32")
async def test_a_stolen_port_is_left_to_its_thief_and_who_uses_it_starts_with_another(tmp_path: Path) -> None:
    async with running(tmp_path, WEB, USER, assistant_spec=ASSISTANT) as lab:
        old, assistant, user = (
            lab.inc.port("web", "http"),
            await lab.assistant_pid(),
            lab.service_pids("user"),
        )
        await end(lab, "web")
        with squatter(old) as thief:
            said = await lab.climb(Rung.REALLOCATE, unit="web", failure=FailureClass.PORT_CONFLICT)

            new = lab.inc.port("web", "http")
            assert new != old
            assert f"web.http moved from port {old} to {new}" in said
            assert answers(new)
            assert thief.poll() is None
        assert await lab.assistant_pid() == assistant
        assert lab.service_pids("user") != user, "its environment names the port"
        assert f"WEB_HTTP_PORT={new}" in (lab.inc.home / "env").read_text(encoding="utf-8")
        assert [x.port for x in await lab.inc.systems.store.read(lambda tx: tx.leases(lab.inc.id))] == [new]


@proves("REALLOC-002")
async def test_who_is_not_concerned_runs_on(tmp_path: Path) -> None:
    told = replace(USER, name="told", on_env_change=replace(USER.on_env_change, action="none"))  # type: ignore[arg-type]  # as a template says it
    async with running(tmp_path, WEB, told, assistant_spec=ASSISTANT) as lab:
        before = lab.service_pids("told")

        await lab.climb(Rung.REALLOCATE, unit="web", failure=FailureClass.PORT_CONFLICT)

        assert lab.service_pids("told") == before


@proves("REALLOC-003", "R-37")
async def test_a_fixed_port_is_never_another_one_and_its_thief_is_named(tmp_path: Path) -> None:
    async with running(tmp_path, WEB, assistant_spec=ASSISTANT) as lab:
        port = lab.inc.port("web", "http")
        fixed = replace(WEB, ports=(PortSpec(name="http", fixed=True, prefer=port),))
        lab.inc.spec = lab.actor.spec = replace(lab.inc.spec, services=(fixed,))
        await end(lab, "web")
        with squatter(port) as thief:
            with pytest.raises(Conflict, match=rf"port {port} of web.http is taken by pid {thief.pid} \("):
                await lab.climb(Rung.REALLOCATE, unit="web", failure=FailureClass.PORT_CONFLICT)

            assert thief.poll() is None
        assert lab.inc.port("web", "http") == port


@proves("REALLOC-004")
async def test_a_memory_limit_is_raised_by_half_once_and_stays_with_the_agent(tmp_path: Path) -> None:
    small = replace(WEB, limits=ProcessLimits(memory_bytes=200_000_000))
    async with running(tmp_path, small, assistant_spec=ASSISTANT) as lab:
        lab.inc.spec = lab.actor.spec = replace(lab.inc.spec, asked=Asked(template="test"))
        pids, port = lab.service_pids("web"), lab.inc.port("web", "http")

        said = await lab.climb(Rung.REALLOCATE, unit="web", failure=FailureClass.MEMORY)

        assert "raised from 200 MB to 300 MB of memory" in said
        (known,) = await lab.inc.systems.store.read(lambda tx: tx.agents())
        assert known.spec.services[0].limits.memory_bytes == 300_000_000
        assert lab.inc.port("web", "http") == port, "it is not ports that failed"
        assert lab.service_pids("web") != pids
        with pytest.raises(Conflict, match="once already"):
            await lab.climb(Rung.REALLOCATE, key="2", unit="web", failure=FailureClass.MEMORY)


@proves("REALLOC-005")
async def test_a_limit_that_the_machine_has_no_room_for_is_not_raised(tmp_path: Path) -> None:
    huge = replace(WEB, limits=ProcessLimits(memory_bytes=1 << 50))
    async with running(tmp_path, huge, assistant_spec=ASSISTANT) as lab:
        before = lab.service_pids("web")
        with pytest.raises(Conflict, match="to spare"):
            await lab.climb(Rung.REALLOCATE, unit="web", failure=FailureClass.MEMORY)

        assert lab.service_pids("web") == before


@proves("REALLOC-006")
@pytest.mark.parametrize("point", ["noted", "claimed", "moved"])
async def test_a_reallocation_that_was_cut_off_moves_once(tmp_path: Path, point: str) -> None:
    reached: list[str] = []

    def reach(now: str) -> None:
        reached.append(now)
        if now == f"rung-realloc-{point}" and reached.count(now) == 1:
            raise RuntimeError(point)

    async with running(tmp_path, WEB, USER, assistant_spec=ASSISTANT, reach=reach) as lab:
        old, user = lab.inc.port("web", "http"), lab.service_pids("user")
        with pytest.raises(RuntimeError):
            await lab.climb(Rung.REALLOCATE, unit="web", failure=FailureClass.PORT_CONFLICT)
        between = lab.inc.port("web", "http")

        await lab.climb(Rung.REALLOCATE, unit="web", failure=FailureClass.PORT_CONFLICT)

        new = lab.inc.port("web", "http")
        assert new != old
        assert between in (old, new)
        assert answers(new)
        assert lab.service_pids("user") != user


@proves("REALLOC-006")
async def test_a_reallocation_that_failed_leaves_no_note_behind(tmp_path: Path) -> None:
    def reach(now: str) -> None:
        if now == "rung-realloc-claimed":
            raise Conflict("the agent is being stopped")

    async with running(tmp_path, WEB, assistant_spec=ASSISTANT, reach=reach) as lab:
        with pytest.raises(Conflict, match="is being stopped"):
            await lab.climb(Rung.REALLOCATE, unit="web", failure=FailureClass.PORT_CONFLICT)

        assert await lab.inc.systems.store.read(lambda tx: tx.under("reallocation/")) == {}


@proves("REALLOC-007")
async def test_temporary_files_of_the_agent_go_and_its_work_stays(tmp_path: Path) -> None:
    async with running(tmp_path, WEB, assistant_spec=ASSISTANT) as lab:
        temporary = lab.inc.home / "tmp" / "sub"
        temporary.mkdir(parents=True)
        (temporary / "left").write_bytes(bytes(2_000_000))
        (lab.inc.path / "work").touch()

        said = await lab.climb(Rung.REALLOCATE)

        assert "temporary files cleaned (2 MB)" in said
        assert list((lab.inc.home / "tmp").iterdir()) == []
        assert (lab.inc.path / "work").exists()
