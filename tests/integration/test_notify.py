"""Processes that say themselves when they are ready (sd_notify(3))."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

import anyio
import pytest

from envmgr.errors import EnvmgrError
from envmgr.model.ids import AgentId
from envmgr.model.probe import NotifyProbe, Readiness
from envmgr.model.service import ServiceKind, ServiceSpec, ServiceState
from envmgr.runtime import notify, runners
from envmgr.runtime.outcomes import ServiceFailed
from envmgr.runtime.services import ServiceRun
from tests.support.incarnations import incarnation
from tests.support.keepers import py
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

SAY = (
    "import os, socket, time\n"
    "words = {words!r}\n"
    "speaker = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
    "for word in words:\n"
    "    speaker.sendto(word, '\\0' + os.environ['NOTIFY_SOCKET'][1:])\n"
    "time.sleep(600)\n"
)


def speaker(*words: bytes, deadline_s: float = 10.0) -> ServiceSpec:
    return ServiceSpec(
        name="api",
        kind=ServiceKind.PROCESS,
        command=py(SAY.format(words=list(words))),
        ready=Readiness(probe=NotifyProbe(), deadline_s=deadline_s),
    )


@proves("SVC-020")
async def test_a_process_is_ready_when_it_says_so(tmp_path: Path) -> None:
    async with incarnation(
        tmp_path, speaker(b"STATUS=loading", b"MAINPID=1\nREADY=1\n"), agent=AgentId(secrets.token_hex(4))
    ) as inc:
        with anyio.fail_after(20):
            run = ServiceRun(inc, await runners.hire(inc), {}, lambda *_: None)
            outcomes = await run.start()

    assert outcomes["api"].state is ServiceState.READY


@proves("SVC-020")
async def test_a_process_that_says_other_things_is_not_ready(tmp_path: Path) -> None:
    async with incarnation(
        tmp_path, speaker(b"STATUS=loading", b"READY=0", deadline_s=0.5), agent=AgentId(secrets.token_hex(4))
    ) as inc:
        with anyio.fail_after(20), pytest.raises(ServiceFailed, match="it has not said READY=1") as failed:
            await ServiceRun(inc, await runners.hire(inc), {}, lambda *_: None).start()

    assert isinstance(failed.value, EnvmgrError)


@proves("SVC-020")
async def test_nobody_listens_after_the_start(tmp_path: Path) -> None:
    service = speaker(b"READY=1")
    async with incarnation(tmp_path, service, agent=AgentId(secrets.token_hex(4))) as inc:
        with notify.listening(inc, service) as heard:
            assert heard is not None
            assert not heard.is_ready()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as late, pytest.raises(ConnectionRefusedError):
            late.sendto(b"READY=1", "\0" + notify.address(inc, "api")[1:])
